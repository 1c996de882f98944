import pytest

from medssl.workflows.segment_listing import list_scans
from tests.scans.dicom_writer import save_slices
from tests.scans.files import AFFINE, hounsfield, organs
from tests.scans.structure_writer import save_seg


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_masks_are_matched_by_name_with_and_without_a_suffix(tmp_path):
    scans = touch(tmp_path / "scans", "a.nii.gz", "b.nrrd", "c.nii", "d.nii", "notes.txt", ".hidden.nii")
    labels = touch(tmp_path / "labels", "a.nii.gz", "b_seg.nii.gz", "c.seg.nrrd")
    found = list_scans(scans, labels, tmp_path / "out")
    assert list(found.scans) == ["a", "b", "c", "d"]
    assert {case: path.name for case, path in found.labels.items()} == {
        "a": "a.nii.gz",
        "b": "b_seg.nii.gz",
        "c": "c.seg.nrrd",
    }
    assert found.problems == {}


def test_masks_may_lie_beside_the_scans(tmp_path):
    folder = touch(tmp_path / "all", "a.nii.gz", "a_mask.nii.gz", "b.nii.gz", "b.seg.nrrd", "c.nii.gz")
    found = list_scans(folder, folder, tmp_path / "out")
    assert list(found.scans) == ["a", "b", "c"]
    assert {case: path.name for case, path in found.labels.items()} == {"a": "a_mask.nii.gz", "b": "b.seg.nrrd"}


def test_what_does_not_fit_is_a_problem_and_not_the_end(tmp_path):
    scans = touch(tmp_path / "scans", "a.nii.gz", "a.nrrd", "<i>.nii")
    (scans / "empty").mkdir()
    labels = touch(tmp_path / "labels", "a.nii.gz", "a_seg.nii.gz", "other.nii.gz")
    found = list_scans(scans, labels, tmp_path / "out")
    assert list(found.scans) == ["a"]
    assert set(found.problems) == {"a.nrrd", "<i>.nii", "empty", "a_seg.nii.gz", "other.nii.gz"}
    assert "no DICOM series" in found.problems["empty"]


def test_results_and_masks_inside_the_folder_of_scans_are_no_scans(tmp_path):
    scans = touch(tmp_path / "scans", "a.nii.gz")
    labels = touch(scans / "labels", "a.nii.gz")
    touch(scans / "out", "a.nii.gz")
    found = list_scans(scans, labels, scans / "out")
    assert list(found.scans) == ["a"] and found.problems == {}


def test_a_folder_without_a_scan_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no scan"):
        list_scans(touch(tmp_path / "scans", "notes.txt"), touch(tmp_path / "labels"), tmp_path / "out")


def test_dicom_segmentations_are_masks_wherever_they_lie(tmp_path):
    for case in "abc":
        save_slices(tmp_path / "scans" / case, hounsfield(), AFFINE)
    save_seg(tmp_path / "labels" / "a.seg.dcm", {"liver": organs() == 1}, AFFINE)
    save_seg(tmp_path / "labels" / "b" / "1-1.dcm", {"liver": organs() == 1}, AFFINE)
    found = list_scans(tmp_path / "scans", tmp_path / "labels", tmp_path / "out")
    assert list(found.scans) == ["a", "b", "c"] and found.problems == {}
    assert {case: path.name for case, path in found.labels.items()} == {"a": "a.seg.dcm", "b": "b"}
    (tmp_path / "labels" / "a.seg.dcm").rename(tmp_path / "scans" / "a_seg.dcm")
    beside = list_scans(tmp_path / "scans", tmp_path / "scans", tmp_path / "out")
    assert list(beside.scans) == ["a", "b", "c"] and set(beside.labels) == {"a"} and beside.problems == {}
