"""Transforms for samples that lack some of their keys."""

import copy
from collections.abc import Sequence
from typing import Any

from monai.transforms import MapTransform


def passing_over_missing(transforms: Sequence[Any]) -> list[Any]:
    """Copy dictionary transforms so that they ignore keys that a sample lacks.

    So the preprocessing of images and labels also serves cases without a label. The given transforms do not change.

    Args:
        transforms: transforms such as ``image_transforms`` of a data recipe.

    Example:
        >>> import torch
        >>> from monai.transforms import EnsureChannelFirstd
        >>> transform = passing_over_missing([EnsureChannelFirstd(["image", "label"], channel_dim="no_channel")])[0]
        >>> {key: tuple(value.shape) for key, value in transform({"image": torch.zeros(3, 3)}).items()}
        {'image': (1, 3, 3)}
    """
    copies = [copy.deepcopy(transform) for transform in transforms]
    for transform in copies:
        if isinstance(transform, MapTransform):
            transform.allow_missing_keys = True
    return copies
