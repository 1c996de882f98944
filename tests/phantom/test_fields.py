import numpy as np
import pytest

from medssl.phantom.fields import along_axis, smooth_field


@pytest.mark.parametrize("shape", [(40, 30, 20), (40, 30, 1)])
def test_noise_has_zero_mean_and_unit_variance(shape):
    fields = np.stack([smooth_field(np.random.default_rng(seed), shape, (5, 4, 3)) for seed in range(40)])
    assert fields.shape[1:] == shape
    assert abs(fields.mean()) < 0.1
    assert abs(fields.std() - 1) < 0.1


def test_longer_periods_are_smoother():
    steps = [np.abs(np.diff(smooth_field(np.random.default_rng(0), (64, 64, 8), p), axis=0)).mean() for p in (2, 4, 16)]
    assert steps[0] > 1.5 * steps[1] > 3 * steps[2]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_matrix_is_applied_to_every_line(axis):
    rng = np.random.default_rng(0)
    image, matrix = rng.random((4, 5, 6)), rng.random((3, (4, 5, 6)[axis]))
    expected = np.apply_along_axis(lambda line: matrix @ line, axis, image)
    np.testing.assert_allclose(along_axis(matrix, image, axis), expected)
