from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medssl.packaging.pack import pack
from medssl.workflows.labelling import Labelling
from medssl.workflows.labelling_carry import CarriedLabels, LabelledScan
from tests.packaging.toy_run import pretraining_run
from tests.tiny import files_of

LABELS = {1: "tall", 2: "wide"}


def scan_with(folder, name, moved, swapped=False):
    """Write a scan of two blocks that lie a few voxels further on, and its label map."""
    label = np.zeros((24, 24, 16), np.uint8)
    label[4 + moved : 9 + moved, 5:9, 2:13] = 1
    label[12 + moved : 20 + moved, 12:20, 4:8] = 2
    noise = np.random.default_rng(moved).normal(0, 10, label.shape)
    image = np.array([-600, 0, 150], np.float32)[label] + noise.astype(np.float32)
    drawn = np.array([0, 2, 1], np.uint8)[label] if swapped else label
    for kind, values in {"image": image, "label": drawn}.items():
        nib.save(nib.Nifti1Image(values, np.diag([2.0, 2, 2, 1])), folder / f"{name}_{kind}.nii.gz")
    segments = ["wide", "tall"] if swapped else []
    return LabelledScan(name, folder / f"{name}_image.nii.gz", folder / f"{name}_label.nii.gz", segments)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("carry")
    pack(pretraining_run(folder / "pretraining"), "toy", folder / "bundles", zip_bundle=False)
    return folder


@pytest.fixture(scope="module")
def scans(work):
    return [scan_with(work, f"scan_{moved}", moved, swapped=moved == 0) for moved in range(4)]


@pytest.fixture
def labelling(work, tmp_path):
    return Labelling(work / "bundles" / "toy_pretrain", tmp_path, LABELS)


def images(scans):
    return {scan.case: scan.image for scan in scans}


def dice(found, wanted):
    return 2 * (found & wanted).sum() / (found.sum() + wanted.sum())


def test_what_is_carried_has_the_values_of_the_labels_whatever_the_client_numbered(labelling, scans, tmp_path):
    carry = CarriedLabels(labelling.learner, tmp_path / "carried", LABELS, scans[:1], images(scans[1:3]), 2)
    carried = {scan.image: scan.label for scan in carry(scans[:1])}
    for scan in scans[1:3]:
        found, wanted = (np.asarray(nib.load(path).dataobj) for path in (carried[scan.image], scan.label))
        assert all(dice(found == value, wanted == value) > 0.5 for value in LABELS)


def test_the_probe_of_one_scan_learns_from_carried_labels_that_find_the_way_back(labelling, scans):
    report = labelling.train(scans[:1], others=images(scans[1:]), carry_to=3)
    assert report["carried"]["dice"] > report["carried"]["at_least"] and report["carried"]["used"]
    assert len(report["labels_carried_to"]) == 3 and report["scans"] == ["scan_0"]


def test_with_more_scans_the_last_one_is_left_out_with_and_without_them(labelling, scans):
    alone = labelling.train(scans[:2])["dice_on_a_scan_left_out"]["dice"]
    report = labelling.train(scans[:2], others=images(scans[2:]), carry_to=2)
    assert report["carried"]["at_least"] == pytest.approx(np.mean(list(alone.values())), abs=1e-4)
    assert report["carried"]["used"] == (report["carried"]["dice"] > report["carried"]["at_least"])


def test_one_other_scan_is_too_few_and_nothing_is_written(labelling, scans, tmp_path):
    report = labelling.train(scans[:1], others=images(scans[1:2]), carry_to=6)
    assert report["carried"] is None and report["labels_carried_to"] == []
    assert not Path(tmp_path / "carried").exists()


def test_what_was_carried_is_kept_for_the_next_training(labelling, scans, tmp_path):
    labelling.train(scans[:1], others=images(scans[1:]), carry_to=3)
    before = files_of(tmp_path / "carried")
    labelling.train(scans[:1], others=images(scans[1:]), carry_to=3)
    assert before and files_of(tmp_path / "carried") == before
