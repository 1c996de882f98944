"""What `medssl check` calls an error of voxels, no loader hands on."""

import logging

import numpy as np
import pytest

from medssl.scans.loading import VerifiedLoadImage, VerifiedLoadImaged
from medssl.scans.loading_2d import LoadImages2Dd, load_label
from tests.scans.files import AFFINE, affine_with, hounsfield, organs, save_itk, save_nifti


def spotted(value):
    voxels = hounsfield().astype(np.float64)
    voxels[5, 5, 4] = value
    return voxels


BAD = {
    "NaN": (spotted(np.nan), "1 of its voxels are NaN, Inf or too large"),
    "Inf": (spotted(-np.inf), "1 of its voxels are NaN, Inf or too large"),
    "1e300": (spotted(1e300), "1 of its voxels are NaN, Inf or too large"),
    "constant": (np.full(hounsfield().shape, 7.0), "all its voxels are 7"),
}


@pytest.mark.parametrize("dtype", [np.float32, None])
@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nrrd"])
@pytest.mark.parametrize(("voxels", "reason"), BAD.values(), ids=BAD)
def test_a_scan_with_unusable_values_is_refused_by_name(tmp_path, voxels, reason, name, dtype):
    save = save_nifti if ".nii" in name else save_itk
    path = save(tmp_path / name, voxels)
    with pytest.raises(ValueError, match=rf"/{name} cannot be used: {reason}.*allow_bad_values"):
        VerifiedLoadImaged("image", dtype=dtype)({"image": path})


def test_values_that_scaling_makes_infinite_are_refused(tmp_path):
    path = save_nifti(tmp_path / "scan.nii.gz", hounsfield(), scl_slope=1e37)
    with pytest.raises(ValueError, match="too large for float32"):
        VerifiedLoadImaged("image")({"image": path})


def test_one_switch_uses_a_scan_as_it_is_and_says_so(tmp_path, caplog):
    path = save_nifti(tmp_path / "scan.nii.gz", spotted(np.nan))
    with caplog.at_level(logging.WARNING):
        loaded = VerifiedLoadImaged("image", allow_bad_values=True)({"image": path})["image"]
    assert np.array_equal(loaded.numpy(), spotted(np.nan).astype(np.float32), equal_nan=True)
    assert f"{path} is used although 1 of its voxels" in caplog.text


@pytest.mark.parametrize("allowed", [False, True])
def test_the_switch_holds_in_2d(tmp_path, allowed):
    path = save_nifti(tmp_path / "slice.nii.gz", np.zeros((6, 5), np.int16), np.diag([1.0, 1, 1, 1]))
    load = LoadImages2Dd("image", allow_bad_values=allowed)
    if allowed:
        assert load({"image": path})["image"].max() == 0
    else:
        with pytest.raises(ValueError, match=r"slice\.nii\.gz cannot be used: all its voxels are 0"):
            load({"image": path})


@pytest.mark.parametrize("key", ["label", "pred"])
def test_an_empty_label_is_no_fault(tmp_path, key):
    path = save_nifti(tmp_path / "a.nii.gz", organs() * 0)
    assert VerifiedLoadImaged(key)({key: path})[key].max() == 0


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_a_label_between_two_values_is_refused(tmp_path, value):
    path = save_nifti(tmp_path / "label.nii.gz", organs() * np.float32(value))
    with pytest.raises(ValueError, match=r"label\.nii\.gz cannot be used: .* of its voxels are"):
        load_label(path)


@pytest.mark.parametrize("factor", [0.9999, 0.996, 1.0003])
def test_a_label_a_little_off_whole_numbers_is_rounded_not_cut(tmp_path, factor):
    path = save_nifti(tmp_path / "label.nii.gz", organs() * np.float32(factor))
    label = VerifiedLoadImage(is_label=True)(path)
    assert np.array_equal(label.numpy(), organs())


@pytest.mark.parametrize(
    ("voxels", "affine", "reason"),
    [
        (organs()[:, :, 1:], AFFINE, "its label is 12 x 10 x 7 but the image is 12 x 10 x 8"),
        (organs(), affine_with(a03=30.0), "lie up to 50.00 mm"),
    ],
)
def test_a_label_on_another_grid_is_refused(tmp_path, voxels, affine, reason):
    image = save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    label = save_nifti(tmp_path / "label.nii.gz", voxels, affine)
    with pytest.raises(ValueError, match=rf"label\.nii\.gz cannot be used with .*/scan\.nii\.gz: .*{reason}"):
        VerifiedLoadImaged(["image", "label"])({"image": image, "label": label})


def test_a_label_whose_spacing_was_rounded_gets_the_grid_of_its_scan(tmp_path):
    shape = (200, 10, 8)
    voxels = np.broadcast_to(np.arange(200, dtype=np.int16)[:, None, None], shape)
    image = save_nifti(tmp_path / "scan.nii.gz", voxels, affine_with(a00=1.5))
    spacing = {"pixdim": [1, 1.501, 1.25, 2.5, 0, 0, 0, 0]}
    label = save_nifti(tmp_path / "label.nii.gz", (voxels > 50).astype(np.uint8), affine_with(a00=1.501), **spacing)
    found = VerifiedLoadImaged(["image", "label"])({"image": image, "label": label})
    assert np.array_equal(found["label"].affine, found["image"].affine)
    wide = save_nifti(tmp_path / "wide.nii.gz", (voxels > 50).astype(np.uint8), affine_with(a00=1.505))
    with pytest.raises(ValueError, match=r"wide\.nii\.gz cannot be used with .* lie up to 0\.99 mm"):
        VerifiedLoadImaged(["image", "label"])({"image": image, "label": wide})
