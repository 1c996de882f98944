"""What a check of a list finds: where each finding belongs, and scans that are listed twice."""

import numpy as np
import pytest

from medssl.data.checking import check_datalist
from medssl.scans import channel_voxels, memory
from medssl.scans.integrity import read_whole
from tests.scans.files import (
    SHAPE,
    affine_with,
    assert_judged,
    cut,
    hounsfield,
    organs,
    save_itk,
    save_nifti,
    save_series,
    write_bomb,
)


def with_nan(voxels: np.ndarray) -> np.ndarray:
    voxels = voxels.astype(np.float32)
    voxels[5, 5, 4] = np.nan
    return voxels


SCAN = {"voxels": hounsfield()}
# One of every kind of check; the tables of them are those of tests/scans.
IMAGES = {
    "sound": ("accept", "", SCAN),
    "stream": ("error", "damaged", {**SCAN, "spoil": cut}),
    "header": ("error", "singular", {**SCAN, "affine": np.diag([0.0, 0, 0, 1])}),
    "odd header": ("warning", "neither sform nor qform", {**SCAN, "sform_code": 0, "qform_code": 0}),
    "voxels": ("error", "NaN, Inf", {"voxels": with_nan(hounsfield())}),
    "voxels as scaled by the header": ("error", "float32", {**SCAN, "scl_slope": 1e38}),
    "HU": ("warning", "lowest value is 0", {"voxels": hounsfield() + 1000}),
}
MASK = {"voxels": organs()}
LABELS = {
    "sound": ("accept", "", MASK),
    "stream": ("error", "damaged", {**MASK, "spoil": cut}),
    "grid": ("error", "up to 50.00 mm", {**MASK, "affine": affine_with(a03=30.0)}),
    "voxels": ("error", "not integers", {"voxels": organs() * np.float32(0.5)}),
    "declared values": ("error", "9 (18 voxels)", {"voxels": np.where(organs() == 2, np.uint8(9), organs())}),
    "empty": ("warning", "empty", {"voxels": organs() * 0}),
}


def saved(path, spoil=None, **options):
    save_nifti(path, **options)
    if spoil:
        spoil(path)
    return path


@pytest.mark.parametrize(("expected", "reason", "options"), IMAGES.values(), ids=IMAGES)
def test_an_image_is_checked_from_its_stream_to_its_voxels(tmp_path, write_list, expected, reason, options):
    path = saved(tmp_path / "scan.nii.gz", **options)
    findings = check_datalist(write_list(unlabeled=[{"case": "a", "image": "scan.nii.gz"}]))
    assert_judged([(finding.severity, finding.problem) for finding in findings], expected, reason)
    assert all((finding.case, finding.section, finding.file) == ("a", "unlabeled", str(path)) for finding in findings)


@pytest.mark.parametrize(("expected", "reason", "options"), LABELS.values(), ids=LABELS)
def test_a_label_is_checked_from_its_stream_to_its_voxels(tmp_path, write_list, expected, reason, options):
    save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    path = saved(tmp_path / "label.nii.gz", **options)
    entry = {"case": "a", "image": "scan.nii.gz", "label": "label.nii.gz"}
    findings = check_datalist(write_list(training=[entry]))
    assert_judged([(finding.severity, finding.problem) for finding in findings], expected, reason)
    assert all((finding.case, finding.section, finding.file) == ("a", "training", str(path)) for finding in findings)


def test_the_modality_of_the_list_decides_what_values_are_odd(tmp_path, write_list):
    save_nifti(tmp_path / "a.nii.gz", np.full(SHAPE, 3, np.int16))
    save_nifti(tmp_path / "b.nii.gz", hounsfield() + 1000)
    path = write_list("MR", unlabeled=[{"case": case, "image": f"{case}.nii.gz"} for case in "ab"])
    assert [(finding.case, finding.severity) for finding in check_datalist(path)] == [("a", "error")]


def test_a_label_beside_the_dicom_series_it_was_drawn_on_is_sound(tmp_path, write_list):
    save_series(tmp_path / "ct", hounsfield())
    save_itk(tmp_path / "label.seg.nrrd", organs())
    entry = {"case": "a", "image": "ct", "label": "label.seg.nrrd"}
    assert check_datalist(write_list(training=[entry])) == []


def test_a_series_that_lacks_a_slice_is_an_error(tmp_path, write_list):
    save_series(tmp_path / "ct", hounsfield(), skip={3})
    (finding,) = check_datalist(write_list(unlabeled=[{"case": "a", "image": "ct"}]))
    assert finding.severity == "error" and "lacks slices" in finding.problem


@pytest.mark.parametrize(
    ("first", "second", "severity"),
    [
        ("training", "test", "error"),
        ("unlabeled", "test", "error"),
        ("training", "validation", "error"),
        ("training", "training", "warning"),
        ("training", "unlabeled", "warning"),
    ],
)
def test_the_same_voxels_in_two_places_are_found(tmp_path, write_list, first, second, severity):
    save_nifti(tmp_path / "a.nii.gz", hounsfield())
    # Another format, another voxel type: the same scan.
    save_itk(tmp_path / "b.nrrd", hounsfield().astype(np.float32))
    save_nifti(tmp_path / "label.nii.gz", organs())
    sections: dict = {}
    for section, case, image in ((first, "a", "a.nii.gz"), (second, "b", "b.nrrd")):
        label = {} if section == "unlabeled" else {"label": "label.nii.gz"}
        sections.setdefault(section, []).append({"case": case, "image": image, **label})
    (finding,) = check_datalist(write_list(**sections))
    assert finding.severity == severity and "same voxels as case" in finding.problem


def test_a_volume_smaller_than_the_patch_is_warned_of(tmp_path, write_list):
    save_nifti(tmp_path / "a.nii.gz", hounsfield())
    path = write_list(unlabeled=[{"case": "a", "image": "a.nii.gz"}])
    (finding,) = check_datalist(path, patch_size=(12, 10, 8), spacing=(3.0, 1.25, 2.5))
    assert finding.severity == "warning" and "padded by 6 x 0 x 0 voxels" in finding.problem


def test_every_bad_case_is_named_and_no_sound_one(tmp_path, write_list):
    entries = []
    for index in range(6):
        save_nifti(tmp_path / f"{index}.nii.gz", hounsfield(index))
        save_nifti(tmp_path / f"{index}_label.nii.gz", organs())
        entries.append({"case": str(index), "image": f"{index}.nii.gz", "label": f"{index}_label.nii.gz"})
    cut(tmp_path / "1.nii.gz")
    (tmp_path / "4_label.nii.gz").unlink()
    findings = check_datalist(write_list(training=entries[:3], test=entries[3:]))
    assert [(finding.case, finding.section) for finding in findings] == [("1", "training"), ("4", "test")]


def test_a_scan_that_does_not_fit_in_memory_does_not_end_the_check_of_the_others(tmp_path, write_list, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1 << 20)
    bomb, small = write_bomb(tmp_path / "a.nii.gz"), save_nifti(tmp_path / "b.nii.gz", np.full(SHAPE, 5, np.int16))
    path = write_list(unlabeled=[{"case": "a", "image": str(bomb)}, {"case": "b", "image": str(small)}])
    findings = check_datalist(path)
    assert [(finding.case, finding.severity) for finding in findings] == [("a", "error"), ("b", "error")]
    assert "it needs 0.27 GiB" in findings[0].problem and "all its voxels are 5" in findings[1].problem


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("unheard of")])
def test_no_fault_of_one_case_ends_the_check(tmp_path, write_list, monkeypatch, error):
    def fail_on_a(path, *_, **options):
        if str(path).endswith("a.nii.gz"):
            raise error
        return read_whole(path, **options)

    monkeypatch.setattr(channel_voxels, "read_whole", fail_on_a)
    for name in "ab":
        save_nifti(tmp_path / f"{name}.nii.gz", hounsfield())
    path = write_list(unlabeled=[{"case": name, "image": f"{name}.nii.gz"} for name in "ab"])
    (finding,) = check_datalist(path)
    assert (finding.case, finding.severity, finding.file) == ("a", "error", str(tmp_path / "a.nii.gz"))


def test_the_dicom_series_of_a_scan_in_another_section_is_a_leak(tmp_path, write_list):
    series, label = save_series(tmp_path / "ct", hounsfield()), save_nifti(tmp_path / "label.nii.gz", organs())
    flipped = save_nifti(tmp_path / "a.nii.gz", hounsfield()[::-1], affine_with(a00=-1.5, a03=-20 + 1.5 * 11))
    entries = [{"case": path.name, "image": str(path), "label": str(label)} for path in (series, flipped)]
    findings = check_datalist(write_list(training=entries[:1], test=entries[1:]))
    assert [finding.severity for finding in findings if "same voxels as case ct in training" in finding.problem] == [
        "error"
    ]
