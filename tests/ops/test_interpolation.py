import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from medssl.ops.interpolation import interpolate, pick

SHAPES = [(7, 5, 6), (1, 4, 9), (5, 1, 1), (8, 3)]


def places_for(shape, rng):
    return [np.sort(rng.uniform(0, size - 1, rng.integers(1, 2 * size + 1))) for size in shape]


@pytest.mark.parametrize(
    ("shape", "order", "dtype"),
    [
        *[(shape, order, np.int16) for shape in SHAPES for order in "CF"],
        *[(SHAPES[0], "F", dtype) for dtype in (np.uint8, np.float32, np.float64)],
    ],
)
def test_it_is_linear_interpolation(shape, order, dtype):
    rng = np.random.default_rng(0)
    volume = np.asarray(rng.integers(0, 200, shape), dtype=dtype, order=order)
    places = places_for(shape, rng)
    expected = map_coordinates(volume.astype(np.float64), np.meshgrid(*places, indexing="ij"), order=1)
    result = interpolate(volume, places)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_voxels_at_their_own_places_stay(shape):
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(interpolate(volume, [np.arange(size, dtype=float) for size in shape]), volume)


def test_a_part_of_a_volume_turned_in_memory_is_interpolated_as_its_copy_is():
    rng = np.random.default_rng(0)
    part = rng.normal(size=(9, 8, 7)).transpose(1, 2, 0)[1:6, 2:, ::2]
    places = places_for(part.shape, rng)
    np.testing.assert_allclose(interpolate(part, places), interpolate(part.copy(), places), atol=1e-5)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_result_lies_in_memory_like_the_volume(axes):
    volume = np.zeros((4, 5, 6), np.int16).transpose(axes)
    result = interpolate(volume, [np.array([0.0, 0.5, 1.0])] * 3)
    assert np.argsort(result.strides).tolist() == np.argsort(volume.strides).tolist()


@pytest.mark.parametrize("shape", SHAPES)
def test_picked_voxels_are_those_of_the_indices(shape):
    rng = np.random.default_rng(0)
    volume = np.asfortranarray(rng.integers(-5, 5, shape))
    voxels = [rng.integers(0, size, 6) for size in shape]
    result = pick(volume, voxels)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, volume[np.ix_(*voxels)])
