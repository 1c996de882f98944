"""`medssl probe` as a run: what it writes, how it goes on, and that chosen voxels stand for all."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from medssl.evaluation.metrics import read_rows
from medssl.networks.fpn import FPN
from medssl.networks.heads import NonLinearHead
from medssl.networks.segmentation import SegmentationNetwork
from medssl.packaging.pack import pack
from medssl.probe.cache import FeatureCache
from medssl.probe.fit import L2_OF_ONE_CASE
from medssl.probe.run import SolvedProbe
from medssl.workflows.training import evaluate, train_segmentation
from tests.tiny import NETWORK, SIZES, files_of

SETTINGS = {**SIZES, "overlap": 0.0}


def probe(datalist, folder, backbone=None, data=("ct",), num_labels=2, resume=False, **overrides):
    settings = {**SETTINGS, **({} if backbone else NETWORK), **overrides}
    return train_segmentation(
        "linear_probe",
        datalist,
        list(data),
        folder,
        backbone=backbone,
        num_labels=num_labels,
        overrides=settings,
        resume=resume,
    )


@pytest.fixture(scope="module")
def solved(ct_list, pretrained, tmp_path_factory) -> Path:
    """The run of a probe on two labelled cases, not to be changed."""
    folder = tmp_path_factory.mktemp("solved") / "run"
    probe(ct_list, folder, pretrained)
    return folder


def report_of(run):
    return json.loads((run / "probe.json").read_text(encoding="utf-8"))


def equal_weights(run, other):
    first, second = (torch.load(folder / "model.pt", weights_only=True) for folder in (run, other))
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_says_how_well_it_was_solved_and_what_was_measured(solved, ct_list):
    report = report_of(solved)
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    names = [name for value, name in listed["labels"].items() if value != "0"]
    assert report["cases"] == sorted(case["case"] for case in listed["training"])
    assert report["converged"] and report["gradient_norm"] <= 3e-4
    assert list(report["dice_of_cases_left_out_by_l2"]) == ["0.1", "0.01", "0.001", "0.0001"]
    assert list(report["dice_on_the_labels_it_was_fitted_to"]) == list(report["dice_on_validation"]) == names
    assert any((solved / "tensorboard").glob("events.*"))
    assert json.loads((solved / "run.json").read_text(encoding="utf-8"))["finished"]


def test_a_run_is_evaluated_and_packed_as_any_other(solved, tmp_path):
    run = Path(shutil.copytree(solved, tmp_path / "run"))
    assert {row["setting"] for row in read_rows(evaluate(run))} == {"linear_probe"}
    assert (pack(run, "toy", tmp_path / "bundles") / "models" / "model.pt").is_file()


def test_runs_share_features_and_a_run_is_repeated_to_the_bit(solved, ct_list, pretrained, tmp_path):
    features = Path(shutil.copytree(solved / "features", tmp_path / "features"))
    before = files_of(features)
    probe(ct_list, tmp_path / "run", pretrained, features_dir=str(features))
    assert files_of(features) == before
    assert not (tmp_path / "run" / "features").exists()
    assert equal_weights(tmp_path / "run", solved)


def test_a_run_that_was_stopped_keeps_its_features_and_ends_the_same(solved, ct_list, pretrained, tmp_path):
    run = Path(shutil.copytree(solved, tmp_path / "run"))
    (run / "model.pt").unlink()
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps({**record, "finished": None}))
    before = files_of(run / "features")
    probe(ct_list, run, pretrained, resume=True)
    assert files_of(run / "features") == before
    assert equal_weights(run, solved)


def test_one_label_is_enough(ct_list, pretrained, tmp_path):
    probe(ct_list, tmp_path / "run", pretrained, num_labels=1)
    report = report_of(tmp_path / "run")
    assert (report["l2"], report["dice_of_cases_left_out_by_l2"]) == (L2_OF_ONE_CASE, {})


def test_without_validation_cases_nothing_is_measured_on_them(ct_list, tmp_path):
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    for case in (case for cases in listed.values() if isinstance(cases, list) for case in cases):
        case |= {key: str(ct_list.parent / case[key]) for key in ("image", "label") if key in case}
    path = tmp_path / "list.json"
    path.write_text(json.dumps({**listed, "validation": []}))
    probe(path, tmp_path / "run")
    assert report_of(tmp_path / "run")["dice_on_validation"] is None


def test_another_head_than_a_linear_one_is_refused(ct_list, tmp_path):
    backbone = FPN(spatial_dims=3, base_channels=4, num_levels=2)
    network = SegmentationNetwork(backbone, NonLinearHead(3, backbone.level_channels, 9), frozen=True)
    cache = FeatureCache(tmp_path, backbone, (16, 16, 8), num_classes=9)
    with pytest.raises(ValueError, match=r"Only a linear head can be solved, not NonLinearHead.*--with paper_probe"):
        SolvedProbe(network, str(ct_list), 1, 0, dict, cache, 9, None, str(tmp_path))
