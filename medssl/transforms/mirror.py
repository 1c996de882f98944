"""Mirrors that leave left and right where they are."""

import logging
import re
from collections.abc import Mapping, Sequence

from monai.transforms import RandFlipd

logger = logging.getLogger(__name__)
_SIDE = re.compile(r"(^|[^a-z])(left|right|l|r|lt|rt|sin|dex)([^a-z]|$)", re.IGNORECASE)


def mirror_axes(class_names: Mapping[str, str], spatial_dims: int) -> list[int]:
    """Axes along which an image in RAS may be mirrored: all, but for left to right where a class has a side.

    A network that sees a mirrored left kidney called left can only guess which is which.

    Args:
        class_names: name of every label value.
        spatial_dims: 2 or 3.

    Example:
        >>> mirror_axes({"1": "left kidney"}, 3), mirror_axes({"1": "liver"}, 3)
        ([1, 2], [0, 1, 2])
    """
    sided = [name for name in class_names.values() if _SIDE.search(name)]
    if sided:
        logger.info("Images are not mirrored left to right: %s would change sides.", ", ".join(sided))
    return list(range(1 if sided else 0, spatial_dims))


def mirrors(
    keys: Sequence[str], class_names: Mapping[str, str], spatial_dims: int, prob: float = 0.5
) -> list[RandFlipd]:
    """Random mirrors along each axis of `mirror_axes`, MONAI's transforms.

    Args:
        keys: of the image and its label, which are mirrored together.
        class_names: name of every label value.
        spatial_dims: 2 or 3.
        prob: of mirroring along an axis.

    Example:
        >>> [flip.flipper.spatial_axis for flip in mirrors(["image", "label"], {"1": "left lung"}, 3)]
        [1, 2]
    """
    return [RandFlipd(keys, prob, axis) for axis in mirror_axes(class_names, spatial_dims)]
