import numpy as np
import pytest

from medssl.phantom.shapes import Canvas, blend, ellipsoid, rotation, tube


def on_sphere(count=200):
    directions = np.random.default_rng(0).standard_normal((3, count))
    return directions / np.linalg.norm(directions, axis=0)


def test_a_sphere_has_exact_distances():
    points = on_sphere() * 7 + np.array([[1.0], [2.0], [3.0]])
    assert np.allclose(ellipsoid(points, (1, 2, 3), (5, 5, 5)), 2)


def test_a_turned_ellipsoid_has_its_surface_where_the_rotation_puts_it():
    axes, turn = np.array((9.0, 4.0, 2.0)), (20, -30, 50)
    surface = rotation(turn) @ (axes[:, None] * on_sphere())
    assert np.allclose(ellipsoid(surface, (0, 0, 0), axes, turn), 0, atol=1e-9)


def test_a_turn_about_z_takes_x_to_y():
    assert np.allclose(rotation((0, 0, 90)) @ (1, 0, 0), (0, 1, 0))


def test_a_tube_narrows_between_its_corners():
    points = np.array([[0.0, 5.0, 10.0], [4.0, 4.0, 4.0], [0.0, 0.0, 0.0]])
    assert np.allclose(tube(points, [(0, 0, 0), (10, 0, 0)], [3, 1]), [1, 2, 3])


def test_a_blend_holds_both_solids_and_fills_the_seam():
    first, second = np.array([-3.0, 20.0, 1.0]), np.array([20.0, -3.0, 1.0])
    assert blend(first, second, 10) == pytest.approx([-3, -3, -1.5])


def test_paint_mixes_half_a_voxel_and_labels_the_larger_part():
    canvas = Canvas({"air": -1000.0, "fat": -100.0}, {"air": 0.0, "fat": 0.0}, np.zeros(4, np.float32), 2.0)
    canvas.paint(np.array([-2.0, -0.5, 0.5, 2.0]), "fat", 3)
    assert canvas.image.tolist() == [-100, -325, -775, -1000]
    assert canvas.label.tolist() == [3, 3, 0, 0]
