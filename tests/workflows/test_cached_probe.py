"""`medssl probe --cached` beside `medssl probe --with paper_probe`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from medssl.evaluation.metrics import read_rows
from medssl.packaging.pack import pack
from medssl.phantom.dataset import write_phantom
from medssl.workflows.training import evaluate, pretrain, train_segmentation
from tests.tiny import NETWORK, SEGMENTATION, files_of

CACHED = {**SEGMENTATION, "patches_per_case": 3, "rows_per_patch": 100, "rows_per_volume": 500}


def probe(datalist, folder, backbone=None, resume=False, **overrides):
    settings = {**CACHED, **overrides} | ({} if backbone else NETWORK)
    layers = ["cached_probe"]
    return train_segmentation(
        "linear_probe",
        datalist,
        ["ct"],
        folder,
        backbone=backbone,
        num_labels=1,
        layers=layers,
        overrides=settings,
        resume=resume,
    )


@pytest.fixture(scope="module")
def cached(ct_list, pretrained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cached") / "run"
    probe(ct_list, folder, pretrained)
    return folder


def test_a_cached_run_is_evaluated_and_packed_as_any_other(cached, tmp_path):
    run = Path(shutil.copytree(cached, tmp_path / "run"))
    rows = read_rows(evaluate(run))
    assert {row["setting"] for row in rows} == {"linear_probe"}
    bundle = pack(run, "phantom", tmp_path / "bundle")
    assert (bundle / "models" / "model.pt").is_file()


def test_the_record_and_the_configuration_say_that_it_was_fitted_on_cached_voxels(cached):
    record = json.loads((cached / "run.json").read_text(encoding="utf-8"))
    assert "cached_probe.yaml" in [Path(path).name for path in record["recipe"]]
    assert json.loads((cached / "config.json").read_text(encoding="utf-8"))["fitted_on"] == "cached voxels"


def test_the_network_is_that_of_the_plain_probe_and_its_backbone_the_pretrained_one(cached, probed, pretrained):
    ours, plain = (torch.load(run / "model.pt", weights_only=True) for run in (cached, probed))
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in plain.items()}
    for name, value in torch.load(pretrained / "backbone.pt", weights_only=True).items():
        assert torch.equal(ours[f"backbone.{name}"], value)


def test_runs_share_the_features_of_a_folder(ct_list, pretrained, cached, tmp_path):
    features = Path(shutil.copytree(cached / "features", tmp_path / "features"))
    before = files_of(features)
    # One case to train on, one to validate on.
    assert len([name for name in before if name.endswith(".json")]) == 2
    weights = probe(ct_list, tmp_path / "run", pretrained, features_dir=str(features))
    assert files_of(features) == before
    assert not (tmp_path / "run" / "features").exists()
    again, first = (torch.load(path, weights_only=True) for path in (weights, cached / "model.pt"))
    assert all(torch.equal(again[name], first[name]) for name in first)


def test_a_stopped_run_continues_to_the_same_weights(ct_list, tmp_path):
    whole = probe(ct_list, tmp_path / "whole", steps_per_epoch=4, checkpoint_every=2)
    stopped = Path(shutil.copytree(tmp_path / "whole", tmp_path / "stopped"))
    (stopped / "checkpoints" / "step=0000004.pt").unlink()
    (stopped / "model.pt").unlink()
    record = json.loads((stopped / "run.json").read_text(encoding="utf-8"))
    (stopped / "run.json").write_text(json.dumps({**record, "finished": None}))
    probe(ct_list, stopped, resume=True, steps_per_epoch=4, checkpoint_every=2)
    again, first = (torch.load(path, weights_only=True) for path in (stopped / "model.pt", whole))
    assert all(torch.equal(again[name], first[name]) for name in first)


def test_without_validation_cases_the_last_weights_are_kept(ct_list, tmp_path):
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    for case in (case for cases in listed.values() if isinstance(cases, list) for case in cases):
        case |= {key: str(ct_list.parent / case[key]) for key in ("image", "label") if key in case}
    path = tmp_path / "list.json"
    path.write_text(json.dumps({**listed, "validation": []}))
    weights = probe(path, tmp_path / "run")
    kept = torch.load(weights, weights_only=True)
    last = torch.load(tmp_path / "run" / "checkpoints" / "step=0000002.pt", weights_only=True)["network"]
    assert all(torch.equal(kept[name], last[name]) for name in kept)


def mean_dice(run):
    return np.mean([row["dice"] or 0.0 for row in read_rows(evaluate(run)) if row["reference_voxels"]])


def test_where_all_voxels_are_kept_the_probe_is_the_plain_one(ct_list, pretrained, tmp_path):
    # A patch as large as the volume: every patch is the same, and every voxel of it is kept.
    settings = {
        **SEGMENTATION,
        "patch_size": [40, 32, 20],
        "steps_per_epoch": 30,
        "learning_rate": 0.2,
        "standardize": True,
    }
    common = ("linear_probe", ct_list, ["ct"])
    train_segmentation(
        *common, tmp_path / "plain", backbone=pretrained, num_labels=1, layers=["paper_probe"], overrides=settings
    )
    kept = {**settings, "patches_per_case": 1, "rows_per_patch": 10**6, "rows_per_volume": 10**6}
    train_segmentation(
        *common, tmp_path / "cached", backbone=pretrained, num_labels=1, layers=["cached_probe"], overrides=kept
    )
    assert max(row["dice"] or 0.0 for row in read_rows(evaluate(tmp_path / "plain"))) > 0.1
    assert mean_dice(tmp_path / "cached") == pytest.approx(mean_dice(tmp_path / "plain"), abs=1e-3)
    # Features are kept as float16, hence not to the last digit.
    ours, plain = (torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("cached", "plain"))
    for name, value in plain.items():
        torch.testing.assert_close(ours[name], value, rtol=2e-2, atol=2e-2)


@pytest.mark.slow
def test_cached_and_plain_probe_agree_on_phantoms(tmp_path):
    cases = {"num_cases": 7, "num_labelled": 2, "num_validation": 1, "num_test": 3}
    datalist = write_phantom(tmp_path / "data", modality="MR", **cases)
    # The scaling of the settings below: 300 steps end near the optimum with it, so the two trainings can be compared.
    data = ["mr", "mr_percentiles", "phantom"]
    size = {"base_channels": 8, "num_levels": 3, "num_workers": 0}
    pretraining = {**size, "max_epochs": 1, "steps_per_epoch": 30, "pairs_per_batch": 2, "num_voxels": 128}
    pretrain("kats", datalist, data, tmp_path / "pretrain", overrides={**pretraining, "learning_rate": 0.001})
    settings = {
        "patch_size": [64, 64, 32],
        "num_workers": 0,
        "max_epochs": 1,
        "steps_per_epoch": 300,
        "patches_per_batch": 2,
        "volumes_per_batch": 2,
        "val_interval": 1,
        "learning_rate": 0.1,
        "standardize": True,
        "overlap": 0.25,
    }
    dice = {}
    for name, layers in (("plain", ["paper_probe"]), ("cached", ["cached_probe"])):
        train_segmentation(
            "linear_probe",
            datalist,
            data,
            tmp_path / name,
            backbone=tmp_path / "pretrain",
            num_labels=2,
            layers=layers,
            overrides=settings,
        )
        dice[name] = mean_dice(tmp_path / name)
    assert dice["plain"] > 0.2
    assert dice["cached"] == pytest.approx(dice["plain"], abs=0.03)
