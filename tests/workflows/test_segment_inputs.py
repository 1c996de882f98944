"""Bad scans and masks each get a sentence and the others are used; where nothing can be done, one sentence says why."""

import os
import struct

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

from medssl.workflows.segment_inputs import read_inputs
from medssl.workflows.segment_progress import Display
from tests.scans.dicom_writer import save_slices
from tests.scans.files import AFFINE, hounsfield, organs, save_nifti


@pytest.fixture
def folder(tmp_path):
    """Three scans of CT, the first two of which have a mask."""
    for name in ("scans", "labels"):
        (tmp_path / name).mkdir()
    for number, case in enumerate("abc"):
        save_nifti(tmp_path / "scans" / f"{case}.nii.gz", hounsfield(number))
    for case in "ab":
        save_nifti(tmp_path / "labels" / f"{case}.nii.gz", organs())
    return tmp_path


def read(folder, label_names=None, modality=None, out="out"):
    display = Display(Console(quiet=True))
    return read_inputs(folder / "scans", folder / "labels", folder / out, modality, label_names, display)


def save_huge(path, sides=(4000, 4000, 4000)):
    """Write the header of a scan of 119 GiB, and a hole of that size in the place of its voxels."""
    nib.save(nib.Nifti1Image(np.zeros((1, 1, 1), np.int16), AFFINE), path)
    content = bytearray(path.read_bytes()[:352])
    struct.pack_into("<4h", content, 40, 3, *sides)
    path.write_bytes(content)
    os.truncate(path, 352 + 2 * int(np.prod(sides, dtype=np.int64)))


def not_a_number():
    voxels = hounsfield().astype(np.float32)
    voxels[3] = np.nan
    return voxels


SCANS = {
    "time series": (lambda path: save_nifti(path, np.stack([hounsfield()] * 3, -1)), "it holds several volumes"),
    "slice": (lambda path: save_nifti(path, hounsfield()[..., 3]), "it has 2 axes"),
    "constant": (lambda path: save_nifti(path, np.full((9, 9, 9), 5, np.int16)), "all its voxels are 5"),
    "NaN": (lambda path: save_nifti(path, not_a_number()), "80 of its voxels are NaN, Inf"),
    "empty": (lambda path: path.touch(), "it has no readable header"),
    "no volume": (lambda path: path.write_bytes(b"no volume"), "it has no readable header"),
    "dangling link": (lambda path: path.symlink_to("nowhere.nii.gz"), "it does not exist"),
    "folder without slices": (lambda path: path.mkdir(), "it holds no DICOM series"),
    "MR": (lambda path: save_nifti(path, np.abs(hounsfield())), "it looks like MR, and the labelled scans are CT"),
}


@pytest.mark.parametrize(("spoil", "text"), SCANS.values(), ids=SCANS)
def test_a_bad_scan_gets_a_sentence_and_the_others_are_used(folder, spoil, text):
    spoil(folder / "scans" / "bad.nii.gz")
    found = read(folder)
    assert set(found.problems) == {"bad.nii.gz"} and found.problems["bad.nii.gz"].startswith(text)
    assert str(folder) not in found.problems["bad.nii.gz"]
    assert found.unlabelled() == ["c"] and set(found.masks) == {"a", "b"}


def test_a_scan_far_larger_than_memory_is_left_out_by_its_header(folder):
    save_huge(folder / "scans" / "bad.nii")
    found = read(folder)
    assert found.problems["bad.nii"].startswith("it has 4000 x 4000 x 4000 voxels, which take 3814.7 GiB to segment")
    assert found.unlabelled() == ["c"]


def test_a_field_of_view_unlike_that_of_the_labelled_scans_is_a_note(folder):
    save_nifti(folder / "scans" / "long.nii.gz", np.concatenate([hounsfield(number) for number in range(4)], axis=2))
    found = read(folder)
    assert found.problems == {} and "long" in found.unlabelled()
    (note,) = [text for text in found.notes["long"] if "field of view" in text]
    assert note == "its field of view is 18 x 12 x 80 mm, that of the labelled scans 18 x 12 x 20 mm."


MASKS = {
    "negative": (-organs().astype(np.int16), "it holds the value -2; structures have values from 1 to 65535."),
    "too large": (organs().astype(np.int32) * 70000, "it holds the value 70000;"),
    "between whole numbers": (organs() * np.float32(0.5), "27 of its voxels are not integers"),
    "NaN": (organs() * np.float32("nan"), "960 of its voxels are NaN or Inf"),
    "a scan": (np.arange(960, dtype=np.int16).reshape(12, 10, 8), "it holds 959 different values, as a scan does;"),
    "empty": (organs() * 0, "the mask is empty; its scan is segmented like the others."),
    "another grid": (organs()[1:], "its label is 11 x 10 x 8 but the image is 12 x 10 x 8"),
}


@pytest.mark.parametrize(("mask", "text"), MASKS.values(), ids=MASKS)
def test_a_bad_mask_gets_a_sentence_and_its_scan_is_segmented(folder, mask, text):
    save_nifti(folder / "labels" / "b.nii.gz", mask)
    found = read(folder)
    assert set(found.problems) == {"b.nii.gz"} and found.problems["b.nii.gz"].startswith(text)
    assert found.unlabelled() == ["b", "c"] and set(found.masks) == {"a"}


def test_a_mask_without_a_scan_is_named(folder):
    save_nifti(folder / "labels" / "nobody_seg.nii.gz", organs())
    assert read(folder).problems == {
        "nobody_seg.nii.gz": "there is no scan 'nobody' for this mask; rename it.",
    }


def test_numbers_without_names_must_have_something_in_common(folder):
    save_nifti(folder / "labels" / "b.nii.gz", (organs() > 0) * np.uint8(255))
    with pytest.raises(ValueError, match=r"mask of a holds 1, 2 and that of b holds 255; say what the numbers mean"):
        read(folder)
    found = read(folder, label_names="1=liver,2=spleen,255=other")
    assert found.problems == {} and set(found.structures.names.values()) == {"liver", "spleen", "other"}


def test_a_structure_that_one_mask_lacks_needs_no_names(folder):
    save_nifti(folder / "labels" / "b.nii.gz", (organs() == 1).astype(np.uint8))
    assert read(folder).structures.absent() == {"label_2": ["b"]}


def test_without_a_mask_the_error_says_how_one_is_called(folder):
    for path in (folder / "labels").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"There is no mask, .* named after its scan, such as a\.nii\.gz"):
        read(folder)


def test_if_no_mask_can_be_used_the_error_says_why_of_each(folder):
    (folder / "scans" / "a.nii.gz").write_bytes(b"no volume")
    save_nifti(folder / "labels" / "b.nii.gz", organs() * 0)
    with pytest.raises(
        ValueError, match=r"No mask .* a\.nii\.gz: it has no readable header .* b\.nii\.gz: the mask is"
    ):
        read(folder)


@pytest.mark.parametrize("out", ["scans", "labels"])
def test_results_do_not_go_among_scans_or_masks(folder, out):
    with pytest.raises(ValueError, match=rf"--out is .*{out}, the folder of your scans or masks"):
        read(folder, out=out)


def test_more_structures_than_can_be_learnt_are_refused(folder):
    for number, case in enumerate("ab"):
        mask = np.zeros((12, 10, 8), np.int16)
        mask.flat[:200] = np.arange(200) + 1 + 150 * number
        save_nifti(folder / "labels" / f"{case}.nii.gz", mask)
    with pytest.raises(ValueError, match="The masks show 350 structures, and at most 255 can be learnt at once"):
        read(folder)


def test_of_a_dicom_export_the_series_with_most_slices_is_a_scan(folder):
    save_slices(folder / "scans" / "export" / "SE1", hounsfield(8), AFFINE)
    save_slices(folder / "scans" / "export" / "SE2", hounsfield(9), AFFINE, uid="1.2.4", keep=range(3))
    found = read(folder)
    assert found.problems == {} and found.facts["export"].shape == [12, 10, 8]
