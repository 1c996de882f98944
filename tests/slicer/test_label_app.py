"""Label a case, get a model: the app in an unmodified MONAI Label, used by the client of its 3D Slicer plugin."""

import json
import re
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import torch

from medssl.networks.fpn import FPN
from medssl.packaging.pack import pack
from medssl.packaging.sources import source_bundles
from medssl.phantom.dataset import phantom_case
from medssl.workflows.clicks import clicked_point
from medssl.workflows.labelling import MAX_VOXELS
from tests.packaging.toy_run import pretraining_run
from tests.slicer.serving import asked, serving

pytestmark = pytest.mark.slicer
CLIENT = Path(__file__).with_name("label_app_client.py")
LABELS = {1: "liver", 2: "spleen", 3: "spine"}
# The order of the scene differs from that of the labels.
SEGMENTS = ["spine", "liver", "spleen"]
IN_PHANTOM = {"liver": 1, "spleen": 2, "spine": 9}
SHAPE, SPACING = (64, 56, 32), (5.8, 5.8, 8.0)
NETWORK = {"base_channels": 8, "num_levels": 3}


def write_bundle(folder: Path) -> Path:
    """Pack a pretraining bundle for scans of this size, with a random backbone."""
    run = pretraining_run(folder / "run")
    config = json.loads((run / "config.json").read_text())
    config.update({**NETWORK, "spacing": list(SPACING), "patch_size": [32, 32, 16]})
    (run / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    torch.save(FPN(**NETWORK).state_dict(), run / "backbone.pt")
    return pack(run, "toy", folder / "bundles", zip_bundle=False)


def truth(seed: int) -> np.ndarray:
    """The label map of a phantom, with the values of LABELS."""
    _, label, _ = phantom_case(seed, "CT", SHAPE, SPACING)
    return sum((value * (label == IN_PHANTOM[name]) for value, name in LABELS.items()), np.zeros(SHAPE)).astype(int)


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with a bundle, four scans, their labels as Slicer saves them, and two clicks."""
    folder = tmp_path_factory.mktemp("label_app")
    write_bundle(folder)
    (folder / "studies").mkdir()
    (folder / "labels").mkdir()
    for seed in range(4):
        image, label, affine = phantom_case(seed, "CT", SHAPE, SPACING)
        nib.save(nib.Nifti1Image(image, affine), folder / "studies" / f"case{seed}.nii.gz")
        drawn = np.zeros(SHAPE, np.uint8)
        for value, name in enumerate(SEGMENTS, start=1):
            drawn[label == IN_PHANTOM[name]] = value
        nib.save(nib.Nifti1Image(drawn, affine), folder / "labels" / f"case{seed}.nii.gz")
    # A left-handed copy of a scan: Slicer flips its third axis when it loads it.
    image, _, affine = phantom_case(0, "CT", SHAPE, SPACING)
    flip = np.diag([1.0, 1, -1, 1])
    flip[2, 3] = SHAPE[2] - 1
    nib.save(nib.Nifti1Image(image[:, :, ::-1], affine @ flip), folder / "studies" / "twin.nii.gz")
    index = [int(i) for i in np.argwhere(truth(0) == 1).mean(axis=0).round()]
    # Slicer shows both in the same place, with the same indices, if the first is right-handed.
    assert np.linalg.det(affine) > 0
    clicks = [{"name": name, "case": case, "index": index} for name, case in (("own", "case0"), ("twin", "twin"))]
    (folder / "clicks.json").write_text(json.dumps(clicks))
    other = [int(i) for i in np.argwhere(truth(0) == 3).mean(axis=0).round()]
    both = {"foreground": [index], "background": [other]}
    points = {"one_point": ("case0", {"foreground": [index]}), "two_points": ("case0", both), "left": ("twin", both)}
    (folder / "points.json").write_text(json.dumps(points))
    (folder / "segments.json").write_text(json.dumps(SEGMENTS))
    return folder


@pytest.fixture(scope="module")
def answered(environment, work):
    """The answers in a session of the plugin's client."""
    (bundle,) = (work / "bundles").iterdir()
    options = {"bundle": bundle, "labels": ",".join(f"{value}={name}" for value, name in LABELS.items())}
    app = source_bundles() / "monailabel"
    with serving(environment, app, work / "studies", options, work / "server.log") as url:
        return asked(environment, CLIENT, url, work)


def dice(found: np.ndarray, reference: np.ndarray) -> float:
    pairs = [(found == value, reference == value) for value in LABELS]
    return float(np.mean([2 * (a & b).sum() / max(a.sum() + b.sum(), 1) for a, b in pairs]))


def test_the_client_is_offered_the_labels_and_the_click(answered):
    info = answered["info_before"]
    assert info["labels"] == list(LABELS.values())
    assert info["models"]["similarity"]["type"] == info["models"]["points"]["type"] == "deepgrow"
    assert list(info["trainers"]) == ["segmentation"]


def test_next_sample_gives_the_scan_that_is_unlike_the_labelled_ones(answered):
    assert next(iter(answered["info_before"]["strategies"])) == "most_helpful"
    assert answered["first_sample"]["id"] == "case0"
    # The other scan without a label has the same voxels as a labelled one.
    assert answered["next_sample"]["id"] == "case3"


def test_features_are_computed_once_when_a_scan_is_opened_and_not_again_by_clicks(answered, work):
    log = (work / "server.log").read_text(encoding="utf-8")
    computed = re.findall(r"Computed the features of \S*/(\w+)\.nii\.gz", log)
    # The first is opened as the next sample, then clicked; the last is segmented, and never clicked.
    assert computed.count("case0") == 1 and "case3" in computed


def test_before_training_no_model_is_offered_and_the_answer_says_why(answered):
    assert "segmentation" not in answered["info_before"]["models"]
    assert "save the label of at least one scan" in answered["untrained"]["error"]


def test_training_without_labels_says_what_to_do(answered):
    status = answered["trained_without_labels"]
    assert status["status"] == "ERROR"
    assert any("No label has been saved yet" in line for line in status["details"])


def test_training_ends_and_the_model_is_offered(answered):
    assert answered["first"]["status"] == answered["second"]["status"] == "DONE"
    assert answered["info"]["models"]["segmentation"]["labels"] == {name: value for value, name in LABELS.items()}


def test_the_report_says_what_its_dice_was_measured_on(answered):
    stats = answered["info"]["train_stats"]["segmentation"]
    assert stats["best_metric_is"] == "mean Dice on a scan left out"
    assert stats["dice_on_a_scan_left_out"]["case"] == "case2"
    assert stats["scans"] == ["case0", "case1", "case2"]


def test_the_label_of_the_first_scan_is_carried_to_the_others_and_tested_on_the_way_back(answered):
    stats = answered["info_first"]["train_stats"]["segmentation"]
    assert set(stats["labels_carried_to"]) == {"case1", "case2", "case3", "twin"}
    assert stats["carried"]["used"] and stats["carried"]["dice"] > stats["carried"]["at_least"] == 0.35
    assert answered["info"]["train_stats"]["segmentation"]["labels_carried_to"] == []


def test_the_kept_features_are_not_computed_again(answered):
    # The second training computes those of the two new scans and of a copy of each only.
    assert answered["info"]["train_stats"]["segmentation"]["voxels_computed"] == 2 * 2 * (MAX_VOXELS // 6)


def test_the_next_scan_is_segmented_better_than_by_a_random_head(answered, work):
    found, _ = nrrd.read(str(work / "second.nrrd"))
    reference = truth(3)
    score = dice(found, reference)
    rng = np.random.default_rng(0)
    body = np.asarray(nib.load(work / "studies" / "case3.nii.gz").dataobj) > -500
    chance = dice(np.where(body, rng.integers(0, 4, SHAPE), 0), reference)
    print(f"Dice on an unlabelled scan: {score:.3f}; by chance: {chance:.3f}")
    assert found.dtype == np.uint8
    assert score > max(0.3, 2 * chance)


def test_the_result_opens_in_slicer(slicer_sees, answered, work):
    seen = slicer_sees(work / "studies" / "case3.nii.gz", work / "second.nrrd")
    found, _ = nrrd.read(str(work / "second.nrrd"))
    affine = nib.load(work / "studies" / "case3.nii.gz").affine
    values = [value for value in LABELS if (found == value).any()]
    for value, segment in zip(values, seen["segmentation"]["segments"], strict=True):
        center = nib.affines.apply_affine(affine, np.argwhere(found == value).mean(axis=0))
        assert np.linalg.norm(center - segment["centroid"]) <= min(SPACING) / 2


@pytest.mark.parametrize("case", ["case0", "twin"])
def test_slicer_counts_voxels_as_clicks_are_understood(slicer_sees, work, case):
    scan = work / "studies" / f"{case}.nii.gz"
    corners = slicer_sees(scan, work / "labels" / "case0.nii.gz")["volume"]["corners"]
    for corner, index in zip(corners, ([0, 0, 0], [size - 1 for size in SHAPE]), strict=True):
        np.testing.assert_allclose(clicked_point(scan, index), corner, atol=1e-2)


def test_the_result_changes_with_the_labels(answered, work):
    first, second = (nrrd.read(str(work / f"{name}.nrrd"))[0] for name in ("first", "second"))
    assert not np.array_equal(first, second)


def test_unknown_segments_stop_the_training(answered):
    status = answered["wrong_names"]
    assert status["status"] == "ERROR"
    assert any("my own structure" in line for line in status["details"])


def test_a_click_marks_what_is_like_it(answered, work):
    (click, _) = json.loads((work / "clicks.json").read_text())
    heat, region = (nrrd.read(str(work / f"own_{name}.nrrd"))[0] for name in ("heat", "region"))
    assert set(np.unique(region)) == {0, 1}
    assert region[tuple(click["index"])] == 1
    assert heat[truth(0) == 1].mean() > heat[truth(0) == 0].mean()
    assert heat[tuple(click["index"])] > 0.9


def test_a_click_in_a_left_handed_scan_is_where_slicer_shows_it(answered, work):
    own, twin = (nrrd.read(str(work / f"{name}_heat.nrrd"))[0] for name in ("own", "twin"))
    np.testing.assert_allclose(twin[:, :, ::-1], own, atol=1e-3)


def test_without_a_click_the_answer_says_so(answered):
    assert "No foreground point" in answered["no_click"]["error"]


def test_points_give_the_structure_that_they_are_in(answered, work):
    (click, _) = json.loads((work / "clicks.json").read_text())
    _, sides = json.loads((work / "points.json").read_text())["two_points"]
    one, two = (nrrd.read(str(work / f"{name}_point{'s' * (name == 'two')}.nrrd"))[0] for name in ("one", "two"))
    assert set(np.unique(two)) == {0, 1}
    assert one[tuple(click["index"])] == two[tuple(click["index"])] == 1
    assert two[tuple(sides["background"][0])] == 0
    assert two[truth(0) == 1].mean() > two[truth(0) == 0].mean()


def test_points_in_a_left_handed_scan_are_where_slicer_shows_them(answered, work):
    own, twin = (nrrd.read(str(work / f"{name}.nrrd"))[0] for name in ("two_points", "left"))
    assert np.mean(twin[:, :, ::-1] == own) > 0.99


def test_without_a_point_the_answer_says_so(answered):
    assert "No foreground point" in answered["no_point"]["error"]
