import numpy as np
import pytest

from medssl.phantom.solids import SOLIDS, level

POINTS = np.stack(np.meshgrid(*[np.arange(-40.0, 41)] * 3, indexing="ij")).astype(np.float32)


@pytest.mark.parametrize("kind", SOLIDS)
@pytest.mark.parametrize("size", [2.0, 9.0, 30.0])
def test_a_solid_lies_in_its_box_and_has_about_the_size_asked_for(kind, size):
    for seed in range(5):
        solid = kind(np.random.default_rng(seed), np.array((3.3, -2.1, 1.2)), size)
        inside = solid.distance(POINTS) < 0
        places = POINTS[:, inside]
        assert (np.abs(places - solid.centre[:, None]) <= solid.reach[:, None]).all()
        if places.shape[1]:
            assert np.ptp(places, axis=1).max() <= 2 * size + 2


def test_the_surface_of_an_ellipsoid_is_where_its_equation_says():
    axes, turn = np.array((20.0, 10.0, 5.0)), (0, 0, 90)
    inside = level(POINTS, np.zeros(3), axes, turn) < 0
    # A quarter turn about z brings the longest axis to y.
    expected = (POINTS[0] / 10) ** 2 + (POINTS[1] / 20) ** 2 + (POINTS[2] / 5) ** 2
    assert (inside == (expected < 1))[np.abs(expected - 1) > 1e-4].all()
