import pytest

from medssl.networks.levels import halving_levels


def test_channels_double_and_cells_are_blocks_of_voxels():
    levels = halving_levels(16, 4)
    assert levels.channels == (16, 32, 64, 128)
    assert levels.strides == (1, 2, 4, 8)
    # The centre of the first block of n voxels, 0 to n - 1.
    assert levels.first_centres == tuple(sum(range(n)) / n for n in levels.strides)


@pytest.mark.parametrize("num_levels", [0, -1])
def test_a_pyramid_without_levels_is_refused(num_levels):
    with pytest.raises(ValueError, match=f"num_levels must be at least 1, got {num_levels}"):
        halving_levels(16, num_levels)
