from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from medssl.packaging.pack import pack
from medssl.workflows.labelling import Labelling
from medssl.workflows.labelling_carry import LabelledScan
from tests.bundles.test_inference import SHAPE, oblique_affine, scan_and_label, write_scan, write_scan_with_nan
from tests.packaging.toy_run import pretraining_run, segmentation_run

LABELS = {1: "liver", 2: "left kidney"}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with two bundles, a scan, and its label as Slicer saves it: other values, the third axis turned."""
    folder = tmp_path_factory.mktemp("labelling")
    pack(segmentation_run(folder / "run"), "toy", folder / "bundles", zip_bundle=False)
    pack(pretraining_run(folder / "pretraining"), "toy", folder / "bundles", zip_bundle=False)
    write_scan(folder / "scan.nii.gz")
    _, label = scan_and_label()
    flip = np.diag([1.0, 1, -1, 1])
    flip[2, 3] = SHAPE[2] - 1
    swapped = np.array([0, 2, 1], np.uint8)[label][:, :, ::-1]
    nib.save(nib.Nifti1Image(swapped, oblique_affine() @ flip), folder / "label.nii.gz")
    return folder


@pytest.fixture(scope="module")
def labelled(work):
    return LabelledScan("scan", work / "scan.nii.gz", work / "label.nii.gz", ["left kidney", "liver"])


@pytest.fixture(scope="module")
def trained(work, labelled):
    """A labelling on a random backbone, with a label that is not drawn, and its report."""
    labels = {**LABELS, 3: "not drawn"}
    labelling = Labelling(work / "bundles" / "toy_pretrain", work / "trained", labels)
    return labelling, labelling.train([labelled, replace(labelled, case="again")])


def test_before_training_the_bundles_own_head_is_used_where_it_has_the_labels(work, tmp_path):
    labelling = Labelling(work / "bundles" / "toy_linear_probe_segmentation", tmp_path)
    assert labelling.can_segment() and labelling.report() is None
    assert labelling.labels == LABELS
    found = labelling.segment(work / "scan.nii.gz")
    assert (found[0].numpy() == scan_and_label()[1]).mean() > 0.95


def test_before_training_a_pretrained_bundle_says_what_to_do(work, tmp_path):
    labelling = Labelling(work / "bundles" / "toy_pretrain", tmp_path, LABELS)
    assert not labelling.can_segment()
    with pytest.raises(RuntimeError, match="save the label of at least one scan"):
        labelling.segment(work / "scan.nii.gz")


def test_a_pretrained_bundle_needs_labels(work, tmp_path):
    with pytest.raises(ValueError, match="names no labels"):
        Labelling(work / "bundles" / "toy_pretrain", tmp_path)


def test_after_training_the_probe_is_used(work, trained):
    labelling, _ = trained
    assert labelling.can_segment()
    found = labelling.segment(work / "scan.nii.gz")
    reference = scan_and_label()[1]
    np.testing.assert_allclose(found.affine, oblique_affine(), atol=1e-4)
    # Value 2 in the file: the name of the segment decides.
    liver, wanted = found[0].numpy() == 1, reference == 1
    assert 2 * (liver & wanted).sum() / (liver.sum() + wanted.sum()) > 0.6


def test_the_report_says_what_was_measured_on_what(trained):
    _, report = trained
    fitted, left_out = report["dice_on_the_labels_it_was_fitted_to"], report["dice_on_a_scan_left_out"]
    assert fitted["not drawn"] is None
    assert 0.6 < fitted["liver"] <= 1
    assert (left_out["case"], left_out["fitted_to"]) == ("again", 1)


def test_the_same_scan_is_computed_once(trained):
    _, report = trained
    assert 0 < report["voxels_computed"] <= np.prod(SHAPE) * 2


def test_a_new_start_goes_on_with_the_newest_probe(work, trained):
    labelling, report = trained
    again = Labelling(labelling.bundle.folder, work / "trained", labelling.labels)
    assert again.report() == report


def test_training_needs_a_label(trained):
    with pytest.raises(ValueError, match="No label has been saved yet"):
        trained[0].train([])


def test_a_label_of_another_grid_is_refused(work, trained, tmp_path):
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), oblique_affine()), tmp_path / "label.nii.gz")
    with pytest.raises(ValueError, match=r"label\.nii\.gz does not fit its scan"):
        trained[0].train([LabelledScan("scan", work / "scan.nii.gz", tmp_path / "label.nii.gz")])


def test_a_scan_with_nan_is_refused_by_name(trained, labelled, tmp_path):
    labelling, report = trained
    write_scan_with_nan(tmp_path / "bad.nii.gz")
    bad = replace(labelled, case="bad", image=tmp_path / "bad.nii.gz")
    for use in (lambda: labelling.segment(bad.image), lambda: labelling.train([labelled, bad])):
        with pytest.raises((ValueError, RuntimeError)) as refused:
            use()
        assert f"{bad.image} cannot be used: " in f"{refused.value}{refused.value.__cause__}"
    assert labelling.report() == report


def test_an_unknown_segment_is_refused_and_nothing_changes(trained, labelled):
    labelling, report = trained
    with pytest.raises(ValueError, match="my own"):
        labelling.train([LabelledScan("scan", labelled.image, labelled.label, ["my own", "liver"])])
    assert labelling.report() == report
