"""The probe during pretraining: what it writes, and that the training does not notice."""

import json

import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from medssl.data.datalist import load_section
from medssl.probe.online import NAME, OnlineProbe
from medssl.workflows.recipes import find_recipe, merge
from medssl.workflows.training import pretrain
from tests.tiny import PRETRAINING

SETTINGS = {**PRETRAINING, "max_epochs": 2, "checkpoint_every": 1}
PROBE = {"probe_every": 3, "probe_labels": 1, "probe_cases": 1, "probe_voxels": 2000}


def rows_of(run):
    return [json.loads(line) for line in (run / NAME).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def probed_run(ct_list, tmp_path_factory):
    folder = tmp_path_factory.mktemp("online") / "run"
    pretrain("kats", ct_list, ["ct"], folder, layers=["online_probe"], overrides={**SETTINGS, **PROBE})
    return folder


def test_the_training_is_the_same_to_the_bit(probed_run, ct_list, tmp_path):
    weights = pretrain("kats", ct_list, ["ct"], tmp_path / "run", overrides=SETTINGS)
    alone, probed = (torch.load(folder / weights.name, weights_only=True) for folder in (weights.parent, probed_run))
    assert all(torch.equal(value, probed[name]) for name, value in alone.items())


def test_a_line_is_written_at_the_start_every_few_steps_and_at_the_end(probed_run, ct_list):
    rows = rows_of(probed_run)
    assert [row["step"] for row in rows] == [0, 3, 4]
    labels = json.loads(ct_list.read_text(encoding="utf-8"))["labels"]
    assert list(rows[0]["dice"]) == [name for value, name in labels.items() if value != "0"]
    found = [value for value in rows[0]["dice"].values() if value is not None]
    assert rows[0]["mean_dice"] == pytest.approx(sum(found) / len(found), abs=1e-4)
    assert 0 < rows[0]["mean_dice"] < 1


def test_a_resumed_run_writes_the_lines_of_an_unbroken_one(probed_run, ct_list, tmp_path):
    settings = {**SETTINGS, **PROBE}
    first = {**settings, "max_epochs": 1}
    pretrain("kats", ct_list, ["ct"], tmp_path / "run", layers=["online_probe"], overrides=first)
    assert [row["step"] for row in rows_of(tmp_path / "run")] == [0, 2]
    options = {"layers": ["online_probe"], "overrides": settings, "resume": True, "allow_changed": True}
    pretrain("kats", ct_list, ["ct"], tmp_path / "run", **options)
    rows = {row["step"]: row["dice"] for row in rows_of(tmp_path / "run")}
    assert list(rows) == [0, 2, 3, 4]
    assert [rows[row["step"]] for row in rows_of(probed_run)] == [row["dice"] for row in rows_of(probed_run)]


def test_pretraining_on_synthetic_volumes_is_probed_on_scans(ct_list, tmp_path):
    settings = {**SETTINGS, **PROBE, "max_epochs": 1, "patch_size": [16, 16, 16], "probe_datalist": str(ct_list)}
    pretrain("kats", None, ["synthetic", "ct"], tmp_path / "run", layers=["online_probe"], overrides=settings)
    assert [row["step"] for row in rows_of(tmp_path / "run")] == [0, 2]


def test_where_a_run_averages_the_weights_the_average_is_probed(probed_run, ct_list, tmp_path):
    # An average that keeps all of itself stays at the weights of the first step.
    settings = {**SETTINGS, **PROBE, "probe_every": 1, "average_decay": 1.0}
    pretrain("kats", ct_list, ["ct"], tmp_path / "run", layers=["efficient", "online_probe"], overrides=settings)
    first, *others = (row["dice"] for row in rows_of(tmp_path / "run")[1:])
    assert others == [first] * 3


def test_without_labelled_cases_it_is_refused(tmp_path):
    settings = {**SETTINGS, **PROBE, "patch_size": [16, 16, 16]}
    with pytest.raises(Exception, match="--probe_datalist"):
        pretrain("kats", None, ["synthetic"], tmp_path / "run", layers=["online_probe"], overrides=settings)
    assert not (tmp_path / "run" / "backbone.pt").exists()


def test_numbers_below_one_are_refused(ct_list, tmp_path):
    with pytest.raises(ValueError, match="must be at least 1"):
        OnlineProbe(torch.nn.Identity(), str(ct_list), dict, (8, 8, 8), str(tmp_path), interval=0)


def test_labels_lie_where_the_recipe_puts_them(ct_list):
    names = [("pretrain/configs", "train"), ("pretrain/configs/methods", "kats"), ("pretrain/configs", "online_probe")]
    config = merge([find_recipe(*name) for name in [*names, ("data", "ct")]], {}, {"spacing": [6.0, 6.0, 9.0]})
    config["transforms"] = "$@image_transforms + @probe_label_transforms"
    by_probe = Compose(ConfigParser(config).get_parsed_content("transforms"))
    config |= {"keys": ["image", "label"], "interpolation": ["bilinear", "nearest"]}
    by_recipe = Compose(ConfigParser(config).get_parsed_content("image_transforms"))
    case = load_section(ct_list, "training")[0]
    expected, found = by_recipe(dict(case)), by_probe(dict(case))
    assert torch.equal(found["image"], expected["image"])
    assert found["label"].shape == expected["label"].shape
    body = expected["label"] > 0
    assert body.sum() > 500
    assert (found["label"] == expected["label"])[body].float().mean() > 0.9
