import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from medssl.transforms.crops import RandResizedCropsd, RandViewFlipsd
from medssl.transforms.scale_aware import RandScaleAwareCropsd
from tests.transforms.view_coordinates import KEYS, assert_in_place, coordinates

# Image and view.
SIZES = [((50, 41), (16, 24)), ((40, 40), (40, 40)), ((35, 20, 28), (16, 12, 8)), ((20, 24, 22), (24, 24, 24))]


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_resized_crops_lie_where_their_affines_say(shape, size):
    cut = RandResizedCropsd(KEYS, size, scale=(0.1, 1.0))
    for seed in range(20):
        assert_in_place(cut.set_random_state(seed=seed)({"image": coordinates(shape)}), shape)


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_mirrored_crops_lie_where_their_affines_say(shape, size):
    cut = Compose([RandResizedCropsd(KEYS, size, scale=(0.1, 1.0)), RandViewFlipsd(KEYS), RandViewFlipsd(KEYS)])
    for seed in range(20):
        assert_in_place(cut.set_random_state(seed=seed)({"image": coordinates(shape)}), shape)


def test_a_mirror_takes_along_what_lies_on_the_grid_of_the_view():
    image = coordinates((30, 30, 30))
    voxels = torch.tensor([[0, 1, 2], [7, 3, 3]])
    sample = RandResizedCropsd("view_1", (8, 8, 8))({"image": image})
    sample |= {"clean_1": sample["view_1"].clone(), "regions_1": sample["view_1"][0].long(), "voxels_1": voxels}
    flipped = RandViewFlipsd("view_1").set_random_state(seed=1)(sample)
    assert not torch.equal(flipped["view_1"], sample["view_1"])
    assert torch.equal(flipped["clean_1"], flipped["view_1"])
    assert torch.equal(flipped["regions_1"], flipped["view_1"][0].long())
    before, after = (s["view_1"][(slice(None), *s["voxels_1"].T)] for s in (sample, flipped))
    assert torch.equal(before, after)


def test_only_the_given_axes_are_mirrored():
    sample = RandScaleAwareCropsd("view_1", window=8)({"image": coordinates((20, 20, 20))})
    affine = RandViewFlipsd("view_1", prob=1, axes=[2])(sample)["affine_1"]
    assert affine[:, :3].diag().tolist() == [1, 1, -1]


def test_a_mirror_leaves_its_input():
    sample = RandScaleAwareCropsd("view_1", window=8)({"image": coordinates((20, 20))})
    before = {key: value.clone() for key, value in sample.items()}
    RandViewFlipsd("view_1", prob=1)(sample)
    assert all(torch.equal(sample[key], before[key]) for key in before)


def test_shares_of_resized_crops_are_within_the_scale():
    cut, data = RandResizedCropsd("view_1", (64, 64), scale=(0.25, 0.5)), {"image": torch.zeros(1, 200, 200)}
    extents = [64 * cut.set_random_state(seed=s)(data)["affine_1"][:, :2].diag() for s in range(200)]
    shares = torch.stack([e.prod() / 200**2 for e in extents])
    ratios = torch.stack([e[0] / e[1] for e in extents])
    assert 0.24 < shares.min() < 0.27 and 0.48 < shares.max() < 0.51
    assert 1.2 < ratios.max() < 1.36 and 0.73 < ratios.min() < 0.83


@pytest.mark.parametrize("shape", [(200, 170), (50, 60, 70)])
def test_every_voxel_of_a_large_box_counts(shape):
    image, size = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)), (16, 16, 16)[: len(shape)]
    view = RandResizedCropsd("view_1", size, scale=(1, 1)).set_random_state(seed=0)({"image": image})["view_1"]
    # Of so many voxels of noise the mean is next to a half; of the 2 nearest along each axis it is not.
    assert view.std() < 0.07
    assert view.mean() == pytest.approx(0.5, abs=0.02)


def test_a_box_too_large_for_a_thin_image_keeps_its_shape():
    affine = RandResizedCropsd("view_1", (16, 16, 16), scale=(1, 1))({"image": torch.zeros(1, 90, 90, 16)})["affine_1"]
    zooms = affine[:, :3].diag()
    assert zooms.max() / zooms.min() < 1.45


def test_a_box_of_the_smallest_share_has_a_voxel():
    view = RandResizedCropsd("view_1", (4, 4), scale=(1e-9, 1e-9))({"image": torch.ones(1, 9, 9)})["view_1"]
    assert view.shape == (1, 4, 4) and (view == 1).all()


@pytest.mark.parametrize(
    "cut", [RandResizedCropsd(KEYS, (8, 8)), RandScaleAwareCropsd(KEYS, window=8)], ids=["resized", "scale_aware"]
)
def test_stored_integers_give_the_views_of_what_they_stand_for(cut):
    stored = torch.arange(900, dtype=torch.int16).reshape(1, 30, 30)
    plain = cut.set_random_state(seed=3)({"image": stored.float() * 0.5 + 2})
    views = cut.set_random_state(seed=3)({"image": stored, "intensity": (0.5, 2.0), "foreground": stored > 3})
    assert set(views) == set(plain)
    assert all(torch.allclose(views[key], plain[key]) for key in plain)


def test_views_of_two_sizes_come_from_two_transforms():
    cut = Compose(
        [
            RandResizedCropsd(KEYS, (16, 16), scale=(0.4, 1), keep_image=True),
            RandResizedCropsd(["view_3", "view_4"], (16, 16), scale=(0.08, 0.4), size_share=3 / 7),
            RandViewFlipsd([*KEYS, "view_3", "view_4"]),
        ]
    ).set_random_state(seed=0)
    sample = cut({"image": MetaTensor(coordinates((40, 30))), "foreground": torch.ones(1, 40, 30), "case": "a"})
    numbers = (1, 2, 3, 4)
    assert set(sample) == {"case", *(f"view_{i}" for i in numbers), *(f"affine_{i}" for i in numbers)}
    assert all(
        type(value) is torch.Tensor and value.dtype == torch.float32 for value in sample.values() if value != "a"
    )
    assert [sample[f"view_{i}"].shape for i in numbers] == [(2, 16, 16)] * 2 + [(2, 7, 7)] * 2
    assert_in_place(sample, (40, 30), [f"view_{i}" for i in numbers])


def test_an_image_of_other_axes_than_the_view_is_an_error():
    with pytest.raises(ValueError, match=r"size \[8, 8\].*\(1, 9, 9, 9\) of case c"):
        RandResizedCropsd(KEYS, (8, 8))({"image": torch.zeros(1, 9, 9, 9), "case": "c"})


def test_a_scale_beyond_the_image_is_an_error():
    with pytest.raises(ValueError, match=r"scale .* \[0.5, 2\]"):
        RandResizedCropsd(KEYS, (8, 8), scale=(0.5, 2))


def test_a_share_of_the_size_stops_at_the_floor():
    cut = RandResizedCropsd("view_1", (128, 64, 16), size_share=0.25, size_floor=24)
    assert cut({"image": torch.zeros(1, 130, 70, 20)})["view_1"].shape == (1, 32, 24, 16)
