import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import CropForegroundd
from scipy import ndimage
from skimage.segmentation import flood

from medssl.transforms.foreground import Above, BodyMaskd, CropBodyd, body_mask


def thorax() -> np.ndarray:
    """A body with a closed cavity and a tube that leaves through the first and the last slice, in air."""
    image = np.full((20, 18, 6), -1000.0, dtype=np.float32)
    image[3:17, 3:15] = 40
    image[5:8, 5:8, 2:4] = -800
    image[11:14, 8:11] = -900
    return image


def test_air_inside_the_body_belongs_to_it():
    mask = body_mask(thorax(), -500)
    assert mask[6, 6, 3]


def test_lungs_that_leave_the_scan_through_its_ends_belong_to_the_body():
    mask = body_mask(thorax(), -500)
    assert mask[12, 9].all()


def test_a_channel_to_the_outside_within_a_slice_makes_air_outside():
    image = thorax()
    image[:6, 6, 3] = -1000
    assert not body_mask(image, -500)[6, 6, 3]


def test_air_in_a_corner_slice_without_body_is_outside():
    image = thorax()
    image[..., 0] = -1000
    mask = body_mask(image, -500)
    assert not mask[..., 0].any()


def test_mask_is_what_flooding_from_the_padded_corner_leaves():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(30, 20, 10))
    air = np.pad(image < 0.3, ((1, 1), (1, 1), (0, 0)), constant_values=True)
    expected = ~flood(air, (0, 0, 0), connectivity=1)[1:-1, 1:-1]
    np.testing.assert_array_equal(body_mask(image, 0.3), expected)


@pytest.mark.parametrize("place", [(0, 3, 1), (-1, 3, 1), (3, 0, 1), (3, -1, 1)])
def test_air_at_each_side_of_a_slice_is_outside(place):
    image = np.ones((8, 8, 3))
    image[place] = 0
    expected = image > 0
    np.testing.assert_array_equal(body_mask(image, 0.5), expected)


def test_a_winding_channel_is_followed_to_its_end():
    image = np.zeros((40, 21, 3))
    image[[0, -1]] = image[:, [0, -1]] = 1
    image[2:-1:4, :-2] = image[4:-1:4, 2:] = 1
    assert body_mask(image, 0.5).all()
    image[0, 10, 1] = 0
    np.testing.assert_array_equal(body_mask(image, 0.5), image > 0)


def test_an_image_without_air_is_all_body():
    assert body_mask(np.ones((4, 5, 6)), 0.5).all()


def test_an_image_of_air_alone_has_no_body():
    assert not body_mask(np.zeros((4, 5, 6)), 0.5).any()


def test_a_slice_has_a_mask_too():
    image = thorax()[..., 3]
    mask = body_mask(image, -500)
    assert mask.sum() == 14 * 12


@pytest.mark.parametrize("size", [(1, 12, 10), (1, 12, 10, 4)])
def test_body_mask_is_added_and_the_image_is_kept(size):
    image = MetaTensor(torch.zeros(size))
    image[:, 3:8, 2:9] = 0.5
    before = image.clone()
    sample = BodyMaskd("image", threshold=0.3)({"image": image})
    assert sample["foreground"].dtype == torch.bool
    assert type(sample["foreground"]) is torch.Tensor
    torch.testing.assert_close(sample["foreground"], before.as_tensor() > 0)
    assert sample["image"] is image
    torch.testing.assert_close(image, before)


def test_an_empty_body_is_an_error_that_names_the_file():
    image = MetaTensor(torch.zeros(1, 5, 5), meta={"filename_or_obj": "scans/air.nii.gz"})
    with pytest.raises(ValueError, match=r"scans/air\.nii\.gz.*0\.3.*lower the threshold"):
        BodyMaskd("image", threshold=0.3)({"image": image})


def test_above_selects_the_foreground_of_monais_crop():
    image = MetaTensor(torch.full((1, 8, 8), -1000.0))
    image[:, 2:5, 3:7] = -500
    crop = CropForegroundd("image", source_key="image", select_fn=Above(-500), allow_smaller=True)
    assert crop({"image": image})["image"].shape == (1, 3, 4)


def airways(seed: int) -> np.ndarray:
    """Smooth random cavities and channels in a noisy body."""
    rng = np.random.default_rng(seed)
    image = np.full((60, 50, 30), -1000.0)
    image[5:55, 6:44] = 40 + 60 * rng.normal(size=(50, 38, 30))
    image[ndimage.gaussian_filter(rng.normal(size=image.shape), 2.5) > 0.07] = -900
    return image.astype(np.float32)


IN_MEMORY = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "mixed": lambda image: image.transpose(1, 2, 0).copy().transpose(2, 0, 1),
    "mirrored": lambda image: image[::-1, :, ::-1].copy()[::-1, :, ::-1],
}


@pytest.mark.parametrize("order", IN_MEMORY)
@pytest.mark.parametrize("seed", range(3))
def test_mask_is_all_but_the_air_components_that_reach_a_side(seed, order):
    image = IN_MEMORY[order](airways(seed))
    components, count = ndimage.label(image < -500)
    sides = np.concatenate([components[[0, -1]].ravel(), components[:, [0, -1]].ravel()])
    outside = np.isin(components, np.setdiff1d(sides, 0))
    assert count > 5 and outside.any()
    np.testing.assert_array_equal(body_mask(image, -500), ~outside)


def crop_of_monai(threshold: float) -> CropForegroundd:
    return CropForegroundd(["image", "label"], "image", Above(threshold), allow_smaller=True, margin=1)


def body_in_air(shape, dtype=torch.float32, place=(slice(3, 7), slice(2, 4), slice(1, 9))) -> dict[str, MetaTensor]:
    image = torch.full((1, *shape), -1000, dtype=dtype)
    image[(0, *place[: len(shape)])] = 40
    affine = torch.diag(torch.tensor([2.0, 1.0, 3.0, 1.0], dtype=torch.float64))
    return {"image": MetaTensor(image, affine=affine), "label": MetaTensor((image > 0).to(torch.uint8), affine=affine)}


@pytest.mark.parametrize("shape", [(12, 9, 11), (8, 4, 9), (12, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int16])
def test_the_crop_to_the_body_is_that_of_monai(shape, dtype):
    ours, theirs = (
        crop(body_in_air(shape, dtype)) for crop in (CropBodyd(["image", "label"], "image", -500), crop_of_monai(-500))
    )
    for key in ("image", "label"):
        assert ours[key].equal(theirs[key]) and ours[key].dtype == theirs[key].dtype
        assert ours[key].affine.equal(theirs[key].affine)
    for key in ("foreground_start_coord", "foreground_end_coord"):
        assert ours[key].tolist() == theirs[key].tolist()


def test_the_crop_to_the_body_finds_a_single_voxel_in_any_channel_and_order_of_memory():
    image = torch.zeros(2, 9, 8, 7).permute(0, 3, 1, 2)
    image[1, 4, 6, 2] = 1
    cropped = CropBodyd("image", "image", 0.5, margin=0)({"image": image})["image"]
    assert cropped.shape == (2, 1, 1, 1) and cropped[1] == 1


def test_the_crop_to_the_body_is_inverted_by_monai():
    crop = CropBodyd(["image", "label"], "image", -500)
    sample = crop(body_in_air((12, 9, 11)))
    back = crop.inverse(sample)
    whole = body_in_air((12, 9, 11))
    assert back["label"].equal(whole["label"]) and back["image"].affine.equal(whole["image"].affine)


def test_a_crop_without_a_body_is_an_error_that_names_the_file():
    image = MetaTensor(torch.full((1, 5, 5), -1000.0), meta={"filename_or_obj": "scans/air.nii.gz"})
    with pytest.raises(ValueError, match=r"no body in scans/air\.nii\.gz.*-500.*up to -1000"):
        CropBodyd("image", "image", -500)({"image": image})


def test_a_nan_does_not_hide_a_body():
    image = torch.full((1, 6, 6), torch.nan)
    image[:, 2, 3] = 40
    assert CropBodyd("image", "image", -500)({"image": image})["image"].shape == (1, 3, 3)
