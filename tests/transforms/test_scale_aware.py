import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from medssl.data.sampling import collate
from medssl.transforms.crops import RandViewFlipsd
from medssl.transforms.scale_aware import RandScaleAwareCropsd, shortest_side
from tests.transforms.view_coordinates import KEYS, assert_in_place, coordinates


@pytest.mark.parametrize("strategy", ["random", "distance"])
@pytest.mark.parametrize("size", [None, (20, 12, 16)])
@pytest.mark.parametrize("shape", [(70, 64), (40, 64, 37)])
def test_scale_aware_crops_lie_where_their_affines_say(shape, size, strategy):
    size = None if size is None else size[: len(shape)]
    cut = RandScaleAwareCropsd(KEYS, divisor=2, strategy=strategy, stride=8, floor=8, size=size)
    for seed in range(10):
        sample = Compose([cut, RandViewFlipsd(KEYS)]).set_random_state(seed=seed)({"image": coordinates(shape)})
        assert_in_place(sample, shape)


def test_windows_are_fractions_of_the_smallest_dimension_in_whole_strides():
    image = {"image": torch.zeros(1, 300, 200)}
    sides = [RandScaleAwareCropsd("view_1", divisor=d)(image)["view_1"].shape[1:] for d in (1, 2, 4, 8)]
    assert sides == [(192, 192), (96, 96), (32, 32), (32, 32)]


def test_the_smallest_dimension_can_be_that_of_the_data_set():
    volumes = [{"image": torch.zeros(1, 300, 200)}, {"image": torch.zeros(1, 140, 150)}]
    cut = RandScaleAwareCropsd("view_1", divisor=2, shortest_side=shortest_side(volumes))
    assert collate([cut(volume) for volume in volumes])["view_1"].shape == (2, 1, 64, 64)


def test_windows_in_mm_follow_the_spacing():
    image = MetaTensor(torch.zeros(1, 100, 100, 40), affine=torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0])))
    cut = RandScaleAwareCropsd("view_1", window_mm=70, stride=4, floor=8)
    assert cut({"image": image})["view_1"].shape == (1, 68, 68, 20)


@pytest.mark.parametrize("distance", [None, 5])
def test_distance_bounds_the_second_centre(distance):
    cut = RandScaleAwareCropsd(KEYS, window=20, strategy="distance", distance=distance)
    cut.set_random_state(seed=0)
    gaps = []
    for _ in range(200):
        sample = cut({"image": torch.zeros(1, 90, 90, 60)})
        gaps.append((sample["affine_1"][:, 3] - sample["affine_2"][:, 3]).abs())
    assert torch.stack(gaps).amax(0).tolist() == [distance or 10] * 3


def test_random_centres_reach_every_corner():
    cut = RandScaleAwareCropsd(KEYS, window=20).set_random_state(seed=0)
    starts = torch.stack([cut({"image": torch.zeros(1, 25, 24)})["affine_2"][:, 2] for _ in range(200)])
    assert starts.amin(0).tolist() == [0, 0] and starts.amax(0).tolist() == [5, 4]


@pytest.mark.parametrize("strategy", ["random", "distance"])
def test_a_seed_decides_everything(strategy):
    steps = [
        RandScaleAwareCropsd(KEYS, window=10, strategy=strategy),
        RandViewFlipsd(KEYS),
    ]
    cut, data = Compose(steps), {"image": torch.rand(1, 40, 40)}
    first, again, other = (cut.set_random_state(seed=seed)(data) for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["view_1"], other["view_1"])


def test_a_window_larger_than_the_image_is_an_error_that_names_all_three():
    with pytest.raises(ValueError, match=r"\[64, 64\] voxels.*\[40, 70\] of case b; choose"):
        RandScaleAwareCropsd(KEYS, window=64)({"image": torch.zeros(1, 40, 70), "case": "b"})


def test_mm_without_an_affine_are_an_error():
    with pytest.raises(ValueError, match="window_mm needs the affine"):
        RandScaleAwareCropsd(KEYS, window_mm=20)({"image": torch.zeros(1, 40, 40)})


def test_two_windows_or_none_are_an_error():
    for windows in ({}, {"divisor": 2, "window": 32}):
        with pytest.raises(ValueError, match="exactly one"):
            RandScaleAwareCropsd(KEYS, **windows)


@pytest.mark.parametrize("sizes", [{"divisor": 0}, {"window": [32, 0]}, {"window_mm": -1}, {"divisor": 2, "stride": 0}])
def test_a_window_of_nothing_is_an_error(sizes):
    with pytest.raises(ValueError, match="must be above 0"):
        RandScaleAwareCropsd(KEYS, **sizes)


def test_an_unknown_strategy_is_an_error():
    with pytest.raises(ValueError, match="random or distance, got 'near'"):
        RandScaleAwareCropsd(KEYS, divisor=2, strategy="near")
