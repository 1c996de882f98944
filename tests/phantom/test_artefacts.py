import numpy as np
import pytest

from medssl.phantom.artefacts import degrade, resolution, to_common_scale


@pytest.mark.parametrize("slices", [1.0, 2.5, 5.0])
def test_a_uniform_line_stays_as_it_is(slices):
    np.testing.assert_allclose(resolution(40, 0.7, slices, 0.3) @ np.ones(40), 1, atol=1e-5)


def test_blur_is_that_of_a_gaussian_away_from_the_ends():
    point = np.zeros(41)
    point[20] = 1
    found = resolution(41, 1.5) @ point
    place = np.arange(41) - 20
    expected = np.exp(-0.5 * (place / 1.5) ** 2) / (1.5 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_an_edge_becomes_as_wide_as_the_slices_are_thick():
    edge = (np.arange(60) >= 30).astype(float)
    widths = [int(((line > 0.1) & (line < 0.9)).sum()) for line in (resolution(60, 0.5, s) @ edge for s in (1, 3, 6))]
    assert widths[0] < widths[1] < widths[2]


def test_degrading_blurs_an_image_and_adds_noise():
    image = np.zeros((32, 32, 16), np.float32)
    image[:16] = 1
    rng = np.random.default_rng(0)
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    found = degrade(rng, image, grain)
    assert found.shape == image.shape
    assert np.isfinite(found).all()
    assert 0.001 < found[20:].std() < 0.3
    assert abs(found[:12].mean() - 1) < 0.3


def test_the_body_has_the_mean_and_the_deviation_asked_for():
    rng = np.random.default_rng(0)
    image = rng.normal(30, 7, (16, 16, 8)).astype(np.float32)
    body = np.zeros(image.shape, bool)
    body[4:12] = True
    scaled = to_common_scale(image, body, 0.45, 0.1)
    assert abs(scaled[body].mean() - 0.45) < 0.01
    assert abs(scaled[body].std() - 0.1) < 0.01
