"""Pretraining on synthetic volumes, which needs no scans."""

import json

import pytest
import torch
from monai.bundle import ConfigParser

from medssl.workflows.preparing import prepare
from medssl.workflows.recipes import find_recipe, merge
from medssl.workflows.training import pretrain
from tests.tiny import PRETRAINING

SETTINGS = {**PRETRAINING, "patch_size": [16, 16, 16]}
SIZES = {"patch_size": [16, 16, 16], "pairs_per_batch": 2}


def batches_of(method, **overrides):
    recipe = [find_recipe("pretrain/configs", "train"), find_recipe("pretrain/configs/methods", method)]
    config = merge([*recipe, find_recipe("data", "synthetic")], {}, {**SIZES, **overrides})
    return ConfigParser(config).get_parsed_content("train::batches")


def test_pretraining_needs_no_data_list_and_resumes_to_the_bit(tmp_path):
    settings = {**SETTINGS, "steps_per_epoch": 1, "checkpoint_every": 1}
    pretrain("kats", None, ["synthetic"], tmp_path / "whole", overrides={**settings, "max_epochs": 2})
    pretrain("kats", None, ["synthetic"], tmp_path / "parts", overrides={**settings, "max_epochs": 1})
    longer = {**settings, "max_epochs": 2}
    pretrain("kats", None, ["synthetic"], tmp_path / "parts", overrides=longer, resume=True, allow_changed=True)
    whole, parts = (torch.load(tmp_path / name / "backbone.pt", weights_only=True) for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    record = json.loads((tmp_path / "whole/run.json").read_text(encoding="utf-8"))
    assert record["datalist"]["name"] == "SyntheticVolumes"
    assert record["datalist"]["path"] is None
    assert record["finished"]


def test_a_batch_is_a_function_of_seed_and_step():
    first, second = batches_of("kats"), batches_of("kats")
    first[0]
    for key, value in first[4].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[4][key])
    assert not torch.equal(first[4]["view_1"], first[5]["view_1"])
    assert not torch.equal(first[4]["view_1"], batches_of("kats", seed=1)[4]["view_1"])


def test_shared_voxels_are_of_one_place_in_two_contrasts():
    batch = batches_of("kats", num_voxels=2000, pairs_per_batch=4, augmentation=[])[1]
    first, second = (batch[f"clean_{i}"][batch[f"voxels_{i}"][:, 0], 0, *batch[f"voxels_{i}"][:, 1:].T] for i in (1, 2))
    assert batch["view_1"].shape == (4, 1, 16, 16, 16)
    assert not torch.equal(first, second)
    assert torch.equal(batch["clean_1"], batch["view_1"])


@pytest.mark.parametrize("method", ["simclr", "pix2rep", "supercl", "vicregl", "masked", "volume_fusion"])
def test_every_kind_of_view_gets_one_contrast(method):
    batch = batches_of(method, patch_size=[32, 32, 32])[0]
    views = [value for key, value in batch.items() if key.startswith("view_")]
    assert len(views) >= 2
    assert {view.shape[1] for view in views} == {1}
    if method == "supercl":
        assert batch["regions_1"].max() > 1


def test_a_data_list_and_a_store_are_refused_where_none_is_read(ct_list, tmp_path):
    with pytest.raises(ValueError, match="makes its volumes itself; leave out --datalist"):
        pretrain("kats", ct_list, ["synthetic"], tmp_path / "run", overrides=SETTINGS)
    with pytest.raises(ValueError, match="nothing to prepare"):
        prepare(ct_list, ["synthetic"], tmp_path / "store")
    assert not (tmp_path / "run").exists()


def test_scans_without_a_data_list_are_refused(tmp_path):
    with pytest.raises(ValueError, match="reads scans; give a data list with --datalist"):
        pretrain("kats", None, ["ct"], tmp_path / "run", overrides=SETTINGS)
