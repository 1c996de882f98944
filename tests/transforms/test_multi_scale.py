from collections import Counter

import pytest
import torch
from monai.transforms import Compose

from medssl.data.sampling import StepBatches
from medssl.transforms.crops import RandViewFlipsd
from medssl.transforms.multi_scale import RandMultiScaleCropsd
from tests.transforms.view_coordinates import KEYS, assert_in_place, coordinates


def voxels_per_cell(sample):
    """Give the voxels of the image in one of each view, along the first axis."""
    return [float(sample[f"affine_{number}"][0, 0].abs()) for number in (1, 2)]


@pytest.mark.parametrize("strategy", ["random", "distance"])
@pytest.mark.parametrize("shape", [(70, 64), (40, 64, 37)])
def test_multi_scale_crops_lie_where_their_affines_say(shape, strategy):
    cut = Compose([RandMultiScaleCropsd(KEYS, strategy=strategy, stride=4, floor=4), RandViewFlipsd(KEYS)])
    for seed in range(10):
        assert_in_place(cut.set_random_state(seed=seed)({"image": coordinates(shape)}), shape)


def test_windows_of_all_sizes_become_views_of_one_size():
    cut = RandMultiScaleCropsd(KEYS, stride=8, floor=8).set_random_state(seed=0)
    samples = [cut({"image": torch.zeros(1, 130, 200)}) for _ in range(40)]
    assert {sample[key].shape for sample in samples for key in KEYS} == {(1, 32, 32)}
    assert {voxels_per_cell(sample)[0] for sample in samples} == {2.0, 1.0, 0.5}


def test_both_views_of_a_pair_have_one_scale():
    cut = RandMultiScaleCropsd(KEYS, stride=8, floor=8).set_random_state(seed=0)
    for _ in range(20):
        first, second = voxels_per_cell(cut({"image": torch.zeros(1, 64, 64)}))
        assert first == second


def test_sizes_are_drawn_with_their_weights_in_any_order_of_the_divisors():
    cut = RandMultiScaleCropsd(KEYS, divisors=[8, 2, 4], weights=[6, 0, 2], stride=8, floor=8).set_random_state(seed=0)
    counts = Counter(voxels_per_cell(cut({"image": torch.zeros(1, 64, 64)}))[0] for _ in range(800))
    assert counts.keys() == {0.5, 1.0}
    assert counts[0.5] / 800 == pytest.approx(0.75, abs=0.05)


def test_one_size_is_the_scale_aware_crop():
    image = {"image": torch.rand(1, 64, 64)}
    sample = RandMultiScaleCropsd(KEYS, divisors=[4], weights=[1], stride=8, floor=8).set_random_state(seed=3)(image)
    row, column = sample["affine_2"][:, 2].int().tolist()
    assert torch.equal(sample["view_2"], image["image"][:, row : row + 16, column : column + 16])


def test_a_batch_is_a_function_of_seed_and_step():
    volumes = [{"image": torch.rand(1, 64, 64), "case": str(case)} for case in range(3)]
    cut = RandMultiScaleCropsd(KEYS, stride=8, floor=8)
    one, other = (StepBatches(volumes, cut, seed=5, batch_size=6, volumes_per_batch=3) for _ in range(2))
    _ = one[0]
    assert torch.equal(one[4]["view_1"], other[4]["view_1"])
    halves = [StepBatches(volumes, cut, 5, 6, 3, rank=rank, num_ranks=2)[4]["view_1"] for rank in (0, 1)]
    assert torch.equal(torch.cat(halves), other[4]["view_1"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": [1, 1]}, "one weight for each divisor"),
        ({"divisors": [], "weights": []}, "one weight for each divisor"),
        ({"weights": [0, 0, 0]}, "weights"),
        ({"weights": [1, -1, 1]}, "weights"),
        ({"divisors": [0, 2, 4]}, "Divisors must be above 0"),
    ],
)
def test_weights_that_cannot_be_drawn_from_are_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        RandMultiScaleCropsd(KEYS, **settings)


def test_a_window_larger_than_the_image_is_an_error():
    with pytest.raises(ValueError, match="larger than the image"):
        RandMultiScaleCropsd(KEYS)({"image": torch.zeros(1, 20, 20), "case": "b"})
