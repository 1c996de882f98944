"""The levels of a pyramid that halves the size and doubles the channels from one to the next."""

from typing import NamedTuple


class Levels(NamedTuple):
    """Channels, strides and first centres of each level, finest first (see `medssl.networks.backbone`)."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    first_centres: tuple[float, ...]


def halving_levels(base_channels: int, num_levels: int) -> Levels:
    """Return the levels of an encoder that pools by 2: level ``i`` has ``base_channels * 2**i`` channels.

    Its cells are blocks of ``2**i`` voxels along each axis, the first one at the corner of the image.

    Args:
        base_channels: channels of the finest level, which has the size of the image.
        num_levels: number of levels.

    Raises:
        ValueError: if there is less than one level.

    Example:
        >>> halving_levels(32, 3)
        Levels(channels=(32, 64, 128), strides=(1, 2, 4), first_centres=(0.0, 0.5, 1.5))
    """
    if num_levels < 1:
        raise ValueError(f"num_levels must be at least 1, got {num_levels}.")
    strides = tuple(2**i for i in range(num_levels))
    return Levels(
        channels=tuple(base_channels * stride for stride in strides),
        strides=strides,
        first_centres=tuple((stride - 1) / 2 for stride in strides),
    )
