import numpy as np
import pytest
from scipy import ndimage

from medssl.ops.flood import flooded


def joined(passable: np.ndarray, axes) -> np.ndarray:
    """The reference: components that reach a border."""
    components, _ = ndimage.label(passable)
    ends = [np.unique(np.take(components, end, axis)) for axis in axes for end in (0, -1)]
    return passable & np.isin(components, np.concatenate(ends))


@pytest.mark.parametrize(
    "shape", [(9, 8, 63), (5, 6, 64), (7, 4, 65), (6, 5, 131), (70, 3, 2), (1, 1, 1), (30, 66), (5, 1)]
)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("axes", [(0, 1), (0,), (1,)])
def test_random_volumes_are_flooded_as_their_components_say(shape, share, axes):
    passable = np.random.default_rng(len(shape)).random(shape) < share
    np.testing.assert_array_equal(flooded(passable, axes), joined(passable, axes))


@pytest.mark.parametrize("axes", [(0, 1), (2,), (0, 1, 2)])
def test_cavities_and_channels_are_told_apart(axes):
    rng = np.random.default_rng(1)
    passable = ndimage.gaussian_filter(rng.normal(size=(40, 50, 90)), 3) > 0
    np.testing.assert_array_equal(flooded(passable, axes), joined(passable, axes))


def test_order_in_memory_does_not_matter():
    passable = np.random.default_rng(2).random((20, 30, 70)) < 0.6
    for turned in (np.asfortranarray(passable), passable.transpose(1, 2, 0).copy().transpose(2, 0, 1)):
        np.testing.assert_array_equal(flooded(turned, (0, 1)), joined(passable, (0, 1)))


def test_a_maze_of_many_turns_is_followed_to_its_end():
    passable = np.ones((101, 40), dtype=bool)
    passable[1::4, :-1] = False
    passable[3::4, 1:] = False
    passable[:, [0, -1]] &= np.arange(101)[:, None] > 0
    passable = np.pad(passable, ((0, 0), (1, 1)))
    result = flooded(passable, (0,))
    assert result[100, 20] and result[50, 20]
    np.testing.assert_array_equal(result, joined(passable, (0,)))


def test_nothing_passable_is_not_flooded():
    assert not flooded(np.zeros((4, 5, 6), dtype=bool), (0, 1)).any()
