"""Bounded noise."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform


class RandClippedNoised(RandomizableTransform, MapTransform):
    """Add clipped Gaussian noise, drawn separately for every key.

    The teacher of a Mean Teacher sees it; std 0.1 and limit 0.2 are those of the public code collection SSL4MIS.

    Args:
        keys: keys of the images.
        std: standard deviation of the noise before clipping, in the units of the image.
        limit: largest absolute value of the noise.

    Raises:
        ValueError: if std or limit is negative.

    Example:
        >>> noisy = RandClippedNoised("image", std=1.0, limit=0.2).set_random_state(seed=0)
        >>> out = noisy({"image": torch.zeros(1, 8, 8)})["image"]
        >>> bool(out.abs().max() == 0.2), out.dtype
        (True, torch.float32)
    """

    def __init__(self, keys: KeysCollection, std: float = 0.1, limit: float = 0.2) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self)
        if std < 0 or limit < 0:
            raise ValueError(f"The noise needs a std and a limit of at least 0, got {std} and {limit}.")
        self.std = std
        self.limit = limit

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with noisy images."""
        out = dict(data)
        for key in self.key_iterator(out):
            noise = self.R.normal(0.0, self.std, size=tuple(out[key].shape)).clip(-self.limit, self.limit)
            out[key] = out[key] + torch.as_tensor(noise, dtype=out[key].dtype)
        return out
