"""Augment every view separately."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import Compose, MapTransform, Randomizable


class PerViewd(Randomizable, MapTransform):
    """Apply array transforms to every key, with separate random values.

    MONAI's dictionary transforms draw once for all their keys, but two views of one image need two draws.

    Args:
        keys: keys of the views.
        transforms: array transforms such as MONAI's ``RandGaussianNoise``, applied one after another.

    Example:
        >>> import torch
        >>> from monai.transforms import RandGaussianNoise
        >>> augment = PerViewd(["view_1", "view_2"], [RandGaussianNoise(prob=1.0)]).set_random_state(seed=0)
        >>> views = augment({"view_1": torch.zeros(1, 4, 4), "view_2": torch.zeros(1, 4, 4)})
        >>> torch.equal(views["view_1"], views["view_2"])
        False
    """

    def __init__(self, keys: str | Sequence[str], transforms: Sequence[Any]) -> None:
        MapTransform.__init__(self, keys)
        self.transform = Compose(transforms)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> "PerViewd":
        """Set the random state of all transforms.

        Args:
            seed: seed of a new state.
            state: state to use instead.
        """
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed=int(self.R.randint(2**31)))
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy with transformed views.

        Args:
            data: holds a tensor of shape ``(C, *spatial)`` under every key.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.transform(result[key])
        return result
