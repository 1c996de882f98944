import numpy as np
import pytest
import torch
from monai.transforms import RandBiasField

from medssl.transforms.contrast import RandInvert, RandLimitedBiasField, RandRescale

IMAGE = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (1, 20, 20))).float()


def test_inverting_twice_gives_the_image_back():
    invert = RandInvert(prob=1.0)
    torch.testing.assert_close(invert(invert(IMAGE)), IMAGE)


def test_inverting_keeps_the_range_and_turns_the_order():
    inverse = RandInvert(prob=1.0)(IMAGE)
    torch.testing.assert_close(torch.stack(inverse.aminmax()), torch.stack(IMAGE.aminmax()))
    assert torch.equal(inverse.flatten().argsort(), IMAGE.flatten().argsort(descending=True))


def test_rescaling_puts_the_percentiles_on_a_range_drawn_from_its_bounds():
    rescale = RandRescale().set_random_state(seed=0)
    ends = torch.stack([torch.stack(rescale(IMAGE).aminmax()) for _ in range(200)])
    assert ((ends[:, 0] >= 0) & (ends[:, 0] <= 0.3)).all()
    assert ((ends[:, 1] >= 0.7) & (ends[:, 1] <= 1)).all()
    assert ends.std(dim=0).min() > 0.05


def test_rescaling_is_linear_between_the_percentiles():
    scaled = RandRescale(lower=(0.25, 0.25), upper=(0.75, 0.75)).set_random_state(seed=0)(IMAGE)
    low, high = np.percentile(IMAGE, (1, 99))
    expected = np.clip((IMAGE.numpy() - low) / (high - low), 0, 1) * 0.5 + 0.25
    np.testing.assert_allclose(scaled.numpy(), expected, atol=1e-5)


def test_an_image_of_one_value_becomes_the_lower_end():
    scaled = RandRescale(lower=(0.25, 0.25)).set_random_state(seed=0)(torch.full((1, 4, 4), 7.0))
    assert (scaled == 0.25).all()


@pytest.mark.parametrize("make", [RandInvert, lambda prob: RandRescale(prob)])
def test_a_share_of_the_images_is_changed_and_a_seed_decides_which(make):
    change = make(prob=0.35)
    first = [torch.equal(change(IMAGE), IMAGE) for change in [change.set_random_state(seed=1)] for _ in range(300)]
    again = [torch.equal(change(IMAGE), IMAGE) for change in [change.set_random_state(seed=1)] for _ in range(300)]
    assert first == again
    assert 0.25 < 1 - np.mean(first) < 0.45


@pytest.mark.parametrize("change", [RandInvert(prob=1.0), RandRescale()])
def test_the_image_that_went_in_stays(change):
    before = IMAGE.clone()
    change(IMAGE)
    assert torch.equal(IMAGE, before)


@pytest.mark.parametrize("shape", [(1, 24, 20), (2, 16, 12, 10)], ids=["2D", "3D"])
def test_a_limited_bias_field_is_smooth_and_stays_within_its_limit(shape):
    shade = RandLimitedBiasField(limit=0.9, prob=1.0, degree=3, coeff_range=(-0.9, 0.9))
    largest = []
    for seed in range(20):
        exponent = shade.set_random_state(seed)(torch.full(shape, 2.0)).div(2).log()
        largest.append(float(exponent.abs().max()))
        assert float(exponent.diff(dim=1).abs().max()) < 0.9
    assert 0.3 < max(largest) <= 0.9 + 1e-5


def test_a_field_within_the_limit_is_that_of_monai():
    options = {"prob": 1.0, "degree": 2, "coeff_range": (0.0, 0.05)}
    image = torch.rand(1, 16, 12, 10)
    plain = RandBiasField(**options).set_random_state(3)(image)
    torch.testing.assert_close(RandLimitedBiasField(**options).set_random_state(3)(image), plain.as_tensor())


def test_a_bias_field_that_is_not_drawn_changes_nothing():
    image = torch.rand(1, 8, 8)
    assert torch.equal(RandLimitedBiasField(prob=0.0)(image), image)
