"""`--with efficient`, and the data recipe of half the resolution that it is meant for."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from medssl.runs.checkpoints import load_checkpoint
from medssl.workflows.recipes import find_recipe, merge, with_bases
from medssl.workflows.training import pretrain
from tests.tiny import PRETRAINING


def merged(*data, layers=("efficient",)):
    files = [find_recipe("pretrain/configs", "train"), find_recipe("pretrain/configs/methods", "kats")]
    files += [find_recipe("pretrain/configs", name) for name in layers]
    files += [find_recipe("data", name) for name in data]
    return merge(with_bases(files), {}, {})


@pytest.mark.parametrize("base", [("ct", "abdomen_ct"), ("mr", "abdomen_mr")])
def test_voxels_are_twice_as_long_and_patches_half_as_many_voxels_wide(base):
    fine, coarse = merged(*base), merged(*base, "abdomen_4mm")
    assert coarse["spacing"] == [2 * size for size in fine["spacing"]]
    assert coarse["patch_size"][:2] == [size // 2 for size in fine["patch_size"][:2]]
    # As many voxels are shuffled, as a share of the patch.
    shares = [
        9 * each["shuffle_blocks"] / each["patch_size"][0] ** 2 / each["patch_size"][2] for each in (fine, coarse)
    ]
    assert shares[1] == pytest.approx(shares[0], rel=0.02)


def test_a_pretraining_with_it_trains_its_network(ct_list, tmp_path):
    settings = {key: value for key, value in PRETRAINING.items() if key not in ("base_channels", "num_levels")}
    pretrain("kats", ct_list, ["ct"], tmp_path / "run", layers=["efficient"], overrides=settings)
    config = json.loads((tmp_path / "run/config.json").read_text(encoding="utf-8"))
    assert (config["base_channels"], config["num_levels"]) == (16, 4)


def test_a_schedule_behind_it_takes_the_place_of_the_average():
    (handler,) = merged("ct", layers=("efficient", "warmup_cosine"))["train"]["schedule_handlers"]
    assert handler["_target_"] == "medssl.engines.schedules.WarmupCosine"


@pytest.mark.parametrize("method", ["kats", "vox2vec"])
def test_the_average_of_the_weights_is_saved_also_after_a_stop(method, ct_list, tmp_path):
    settings = {**PRETRAINING, "checkpoint_every": 1, "average_decay": 0.6}
    whole = pretrain(method, ct_list, ["ct"], tmp_path / "whole", layers=["efficient"], overrides=settings)
    steps = [load_checkpoint(whole.parent / f"checkpoints/step=000000{step}.pt")["method"] for step in (1, 2)]
    saved = torch.load(whole, weights_only=True)
    for name in (name for name, value in saved.items() if value.is_floating_point()):
        # The backbone of the method has a prefix that depends on the method.
        first, second = (next(value for key, value in step.items() if key.endswith(name)) for step in steps)
        torch.testing.assert_close(saved[name], 0.6 * first + 0.4 * second)

    stopped = Path(shutil.copytree(whole.parent, tmp_path / "stopped"))
    for path in [stopped / "backbone.pt", *stopped.glob("checkpoints/step=0000002*")]:
        path.unlink()
    record = json.loads((stopped / "run.json").read_text(encoding="utf-8"))
    (stopped / "run.json").write_text(json.dumps({**record, "finished": None}), encoding="utf-8")
    pretrain(method, ct_list, ["ct"], stopped, layers=["efficient"], overrides=settings, resume=True)
    resumed = torch.load(stopped / "backbone.pt", weights_only=True)
    assert all(torch.equal(resumed[name], value) for name, value in saved.items())
