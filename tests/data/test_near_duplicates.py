import nibabel as nib
import numpy as np
import pytest

from medssl.data.checking import check_datalist
from tests.scans.test_fingerprint import AFFINE, scan


def write(folder, name, voxels):
    nib.save(nib.Nifti1Image(voxels, AFFINE), folder / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image((voxels > 0).astype(np.uint8), AFFINE), folder / f"{name}_label.nii.gz")
    return {"case": name, "image": f"{name}.nii.gz", "label": f"{name}_label.nii.gz"}


@pytest.fixture
def cases(tmp_path):
    """Four scans, of which d is b with other intensities, on fewer slices."""
    volumes = {"a": scan(1), "b": scan(2), "c": scan(3), "d": 1.2 * scan(2)[:, :, 1:] + 40}
    return {name: write(tmp_path, name, voxels) for name, voxels in volumes.items()}


def likenesses(path):
    return [(f.section, f.case, f.severity, f.problem) for f in check_datalist(path) if " like " in f.problem]


def test_an_altered_copy_of_a_held_out_scan_is_a_warning_with_both_names(cases, write_list, tmp_path):
    path = write_list("MR", {"0": "background", "1": "one"}, training=[cases["a"], cases["b"]], test=[cases["d"]])
    ((section, case, severity, problem),) = likenesses(path)
    assert (section, case, severity) == ("test", "d", "warning")
    assert problem.startswith("it is 9") or problem.startswith("it is 100%")
    assert f"% like {tmp_path / 'b.nii.gz'} (case b in training)" in problem


def test_pretraining_scans_are_held_against_validation_too(cases, write_list):
    unlabelled = {key: cases["b"][key] for key in ("case", "image")}
    path = write_list("MR", {"0": "background", "1": "one"}, validation=[cases["d"]], unlabeled=[unlabelled])
    assert [found[:2] for found in likenesses(path)] == [("validation", "d")]


def test_two_held_out_sections_are_told_once(cases, write_list):
    path = write_list("MR", {"0": "background", "1": "one"}, validation=[cases["d"]], test=[cases["b"]])
    assert [found[:2] for found in likenesses(path)] == [("test", "b")]


def test_other_patients_and_one_section_are_no_leak(cases, write_list):
    path = write_list(
        "MR", {"0": "background", "1": "one"}, training=[cases["b"], cases["d"]], test=[cases["a"], cases["c"]]
    )
    assert likenesses(path) == []


def test_an_exact_copy_is_the_error_of_exact_copies_alone(cases, write_list):
    twin = {**cases["b"], "case": "twin"}
    path = write_list("MR", {"0": "background", "1": "one"}, training=[cases["b"]], test=[twin])
    assert likenesses(path) == []
    assert [f.severity for f in check_datalist(path) if "the same voxels" in f.problem] == ["error"]
