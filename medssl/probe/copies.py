"""Altered copies of a labelled scan, so that a head fitted to one scan holds for another."""

import zlib
from collections.abc import Callable

import numpy as np
from monai.transforms import Compose
from torch import Tensor

from medssl.probe.rows import VoxelRows

Rows = Callable[[str, Tensor, Tensor], VoxelRows]
_FEW, _SOME = 2, 5


def copies_for(num_scans: int) -> int:
    """Return how many copies of a labelled scan a probe is given, for a number of labelled scans.

    Each costs a pass of the backbone. docs/results.md has what they gain (section "Position and altered copies").

    Example:
        >>> [copies_for(num_scans) for num_scans in (1, 2, 3, 5, 6)]
        [4, 4, 2, 2, 0]
    """
    if num_scans <= _FEW:
        return 4
    return 2 if num_scans <= _SOME else 0


class Copies:
    """Altered copies of a preprocessed scan and its label.

    A head fitted to one scan relies on its brightness and on the size of its organs; copies that differ in both keep it
    from that. How a copy is altered depends on the name of the case and the number of the copy alone.

    Args:
        number: of copies.
        augmentation: of ``image`` and ``label``, which keeps their shape.
        num_channels: of a preprocessed image that are altered. Those behind them, which say where a voxel lies, are
            left out, and `augmentation` adds them anew.

    Example:
        >>> import torch
        >>> from monai.transforms import RandScaleIntensityd
        >>> copies = Copies(2, Compose([RandScaleIntensityd("image", factors=0.5, prob=1.0)]), num_channels=1)
        >>> def rows(case, image, label):
        ...     size = label.numel()
        ...     return VoxelRows(image.reshape(size, 1), label.ravel().numpy(), np.ones(size), np.array([size]))
        >>> copies.joined(rows)("a", torch.ones(1, 2, 2), torch.zeros(1, 2, 2)).features[::4].ravel().tolist()
        [1.0, ...]
    """

    def __init__(self, number: int, augmentation: Compose, num_channels: int) -> None:
        self.number = number
        self.augmentation = augmentation
        self.num_channels = num_channels

    def joined(self, rows: Rows) -> Rows:
        """Return a function that gives the rows of a scan and of its copies, joined as those of one scan.

        Args:
            rows: `medssl.probe.cache.FeatureCache.volume`, or the like.
        """

        def joined_rows(case: str, image: Tensor, label: Tensor) -> VoxelRows:
            parts = [rows(case, image, label)]
            for number in range(1, 1 + self.number):
                altered = self._altered(f"{case} {number}", image, label)
                parts.append(rows(f"{case}-copy-{number}", altered["image"], altered["label"]))
            return VoxelRows(
                *(np.concatenate([np.asarray(getattr(part, name)) for part in parts]) for name in VoxelRows._fields)
            )

        return joined_rows

    def _altered(self, name: str, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        self.augmentation.set_random_state(zlib.crc32(name.encode()))
        altered: dict[str, Tensor] = self.augmentation({"image": image[: self.num_channels], "label": label})
        return altered
