import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch.nn import functional as F

from medssl.ops.warping import bspline_field, inside, read_image, voxel_grid

SIZES = [(9, 14), (8, 11, 6)]


@pytest.mark.parametrize("size", SIZES)
def test_an_image_read_at_its_own_voxels_is_itself(size):
    image = torch.rand(2, *size)
    torch.testing.assert_close(read_image(image, voxel_grid(size)), image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_an_image_of_coordinates_is_read_as_the_positions(size):
    image = voxel_grid(size).movedim(-1, 0)
    # Cubic interpolation bends a line that ends; torch's kernel (a = -0.75) keeps one to a twentieth of a step.
    positions = 1 + torch.rand(5, 5, *[4] * (len(size) - 2), len(size)) * (torch.tensor(size) - 3.0)
    torch.testing.assert_close(read_image(image, positions), positions.movedim(-1, 0), atol=0.06, rtol=0)


def test_outside_the_image_is_0_and_no_value_leaves_the_range_of_the_image():
    image = (torch.rand(1, 12, 12) > 0.5).float()
    positions = voxel_grid((40, 40)) * 0.7 - 8
    values = read_image(image, positions)
    assert (values[:, ~inside(positions, (12, 12))] == 0).all()
    assert values.min() >= 0
    assert values.max() <= 1


@pytest.mark.parametrize("size", SIZES)
def test_the_border_of_an_image_is_as_bright_as_its_middle(size):
    places = voxel_grid(size) * (1 - 1 / torch.tensor(size)) + 0.5
    torch.testing.assert_close(read_image(torch.ones(1, *size), places), torch.ones(1, *size))


@pytest.mark.parametrize("size", SIZES)
def test_inside_is_where_a_warped_image_of_ones_is_above_0_999(size):
    positions = torch.rand(4000, len(size)) * (torch.tensor(size) + 3.0) - 2
    # Many on the very border.
    positions[:1000] = positions[:1000].round()
    grid = 2 * positions / (torch.tensor(size) - 1.0) - 1
    shape = (1, 4000, *[1] * (len(size) - 1), len(size))
    ones = F.grid_sample(torch.ones(1, 1, *size), grid.flip(-1).reshape(shape), align_corners=True)
    assert torch.equal(inside(positions, size), ones.flatten() > 0.999)


def test_a_field_is_the_sum_of_cubic_b_splines():
    control, size = torch.rand(1, 6), 21
    values = control[0].numpy().astype(float)
    extended = np.concatenate([[2 * values[0] - values[1]], values, [2 * values[-1] - values[-2]]])
    spline = BSpline(np.arange(-3, len(extended) + 1), extended, 3)
    expected = spline(np.linspace(0, 5, size))
    torch.testing.assert_close(bspline_field(control, (size,))[0].double(), torch.from_numpy(expected))


@pytest.mark.parametrize("size", SIZES)
def test_linear_control_points_give_a_linear_field(size):
    points = (5, 7, 4)[: len(size)]
    steps = torch.tensor([(n - 1) / (k - 1) for n, k in zip(size, points, strict=True)])
    field = bspline_field((voxel_grid(points) * steps).movedim(-1, 0), size)
    torch.testing.assert_close(field, voxel_grid(size).movedim(-1, 0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_locked_border_points_keep_the_border_still(size):
    dims = len(size)
    field = bspline_field(F.pad(torch.rand(dims, *[3] * dims) + 1, [1, 1] * dims), size)
    for axis in range(1, dims + 1):
        for end in (0, -1):
            assert field.select(axis, end).abs().max() < 1e-6
    assert (field[(slice(None), *[n // 2 for n in size])] > 0.2).all()
