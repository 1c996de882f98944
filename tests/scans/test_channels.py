"""Scans of several files, one for each channel."""

import numpy as np
import pytest
from PIL import Image

from medssl.scans.inputs import input_cases
from medssl.scans.loading import VerifiedLoadImaged
from medssl.scans.loading_2d import LoadImages2Dd
from tests.scans.files import affine_with, hounsfield, mirrored, organs, save_nifti


def test_files_become_channels_in_their_order(tmp_path):
    files = [save_nifti(tmp_path / f"{seed}.nii.gz", hounsfield(seed)) for seed in range(3)]
    label = save_nifti(tmp_path / "label.nii.gz", organs())
    sample = {"image": list(map(str, files)), "label": str(label)}
    for is_first in (False, True):
        loaded = VerifiedLoadImaged(["image", "label"], ensure_channel_first=is_first)(sample)
        assert np.array_equal(loaded["image"], np.stack([hounsfield(seed) for seed in range(3)]))
        assert loaded["label"].shape[-3:] == organs().shape


@pytest.mark.parametrize(
    ("voxels", "affine", "text"),
    [
        (hounsfield()[1:], affine_with(), r"b\.nii\.gz cannot be used: it has \(11, 10, 8\) voxels .*a\.nii\.gz"),
        (hounsfield(), affine_with(a03=9.0), r"b\.nii\.gz cannot be used: .*at another place where .*a\.nii\.gz"),
        (hounsfield(), mirrored(), r"b\.nii\.gz cannot be used: .*stored in another order or direction .*a\.nii\.gz"),
        (np.zeros_like(hounsfield()), affine_with(), r"b\.nii\.gz cannot be used: all its voxels are 0"),
    ],
)
def test_a_channel_on_another_grid_is_an_error_that_names_both(tmp_path, voxels, affine, text):
    first = save_nifti(tmp_path / "a.nii.gz", hounsfield())
    second = save_nifti(tmp_path / "b.nii.gz", voxels, affine)
    with pytest.raises(ValueError, match=text):
        VerifiedLoadImaged("image")({"image": [str(first), str(second)]})


def test_pictures_become_channels_too(tmp_path):
    for value, name in ((10, "a"), (20, "b")):
        pixels = np.full((4, 6), value, np.uint8)
        pixels[0, 0] = 0
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    files = [str(tmp_path / f"{name}.png") for name in "ab"]
    image = LoadImages2Dd("image", in_channels=2)({"image": files})["image"]
    assert image.shape == (2, 6, 4) and image.amax(dim=(1, 2)).tolist() == [10, 20]
    with pytest.raises(ValueError, match="one of 2 channels, but in_channels is 3"):
        LoadImages2Dd("image", in_channels=3)({"image": files})


@pytest.mark.parametrize("endings", [("0000", "0001"), ("T1", "T2"), ("t1", "t2")])
def test_inputs_of_a_bundle_are_grouped_by_number_or_name(tmp_path, endings):
    for case in ("anna", "Bo_1"):
        for ending in endings:
            (tmp_path / f"{case}_{ending}.nii.gz").touch()
    cases = input_cases(tmp_path, channels=["T1", "T2"])
    assert sorted(case["case"] for case in cases) == ["Bo_1", "anna"]
    assert all(len(case["image"]) == 2 for case in cases)
    first = tmp_path / f"anna_{endings[0]}.nii.gz"
    (only,) = input_cases(first, channels=["T1", "T2"])
    assert only == {"case": "anna", "image": [str(first), str(tmp_path / f"anna_{endings[1]}.nii.gz")]}
    (tmp_path / f"anna_{endings[1]}.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"anna_.* has no channel T2 beside it"):
        input_cases(first, channels=["T1", "T2"])


def test_a_folder_without_such_names_says_which_are_meant(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(FileNotFoundError, match=r"2 channels T1, T2; give one file that holds them all, or"):
        input_cases(tmp_path, channels=["T1", "T2"])
