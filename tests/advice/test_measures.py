import numpy as np
import pytest

from medssl.advice.measures import measure_structure, thickness_of


def ball(radius, spacing, size):
    """Give a ball in mm on a grid, its centre on a voxel."""
    axes = [np.arange(-n, n + 1) * edge for n, edge in zip(size, spacing, strict=True)]
    return sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")) <= radius**2


@pytest.mark.parametrize(("spacing", "size"), [((1.0, 1.0, 1.0), (15, 15, 15)), ((1.0, 1.0, 4.0), (15, 15, 4))])
def test_the_thickness_of_a_ball_is_its_diameter(spacing, size):
    assert thickness_of(ball(12.0, spacing, size), spacing) == pytest.approx(24, abs=max(spacing))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 2.0)])
def test_the_thickness_of_a_long_tube_is_its_diameter(spacing):
    disc = ball(4.0, spacing[:2], (10, 10))
    tube = np.repeat(disc[..., None], 60, axis=2)
    assert thickness_of(tube, spacing) == pytest.approx(8, abs=1)


@pytest.mark.parametrize("voxels", [1, 2, 3, 4, 7])
def test_the_thickness_of_a_plate_is_that_across_it(voxels):
    plate = np.zeros((50, 40, 20), bool)
    plate[5:45, 5:35, 6 : 6 + voxels] = True
    assert thickness_of(plate, (1.0, 1.0, 3.0)) == pytest.approx(3 * voxels, abs=1.5)


def test_a_ragged_surface_and_specks_do_not_make_a_structure_thin():
    smooth = np.pad(ball(12.0, (1.0, 1.0), (14, 14)), 20)
    specks = np.random.default_rng(0).random(smooth.shape) < 0.02
    assert thickness_of(smooth | specks, (1.0, 1.0)) == pytest.approx(thickness_of(smooth, (1.0, 1.0)), abs=1.5)


def test_a_branching_net_is_as_thick_as_its_strands():
    net = np.zeros((100, 100), bool)
    net[::20] = net[1::20] = net[2::20] = True
    net[:, ::20] = net[:, 1::20] = net[:, 2::20] = True
    assert thickness_of(net, (1.0, 1.0)) == pytest.approx(3, abs=1)


def test_sizes_are_in_ml_and_mm_of_the_spacing():
    mask = np.zeros((20, 20, 10), bool)
    mask[2:12, 4:9, 3:5] = True
    found = measure_structure(mask, np.zeros(mask.shape), (2.0, 1.0, 5.0))
    assert found.size == pytest.approx(100 * 10 / 1000)
    assert found.extent == (20.0, 5.0, 10.0)
    assert found.share == 100 / 4000


def test_contrast_is_the_difference_to_the_surroundings_in_deviations():
    noise = np.random.default_rng(0).normal(size=(60, 60))
    mask = np.zeros((60, 60), bool)
    mask[20:40, 20:40] = True
    far = np.zeros((60, 60))
    far[:10] = 1000
    assert measure_structure(mask, noise - 3 * mask + far, (1.0, 1.0)).contrast == pytest.approx(-3, abs=0.3)


def test_a_structure_that_fills_the_scan_has_no_contrast():
    assert measure_structure(np.ones((8, 8), bool), np.random.default_rng(0).random((8, 8)), (1, 1)).contrast == 0


def test_a_scan_without_the_structure_has_no_measures():
    assert measure_structure(np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4)), (1, 1, 1)) is None
