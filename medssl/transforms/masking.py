"""Hide most of a view in blocks, for a network that restores what it does not see."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from monai.utils import convert_to_tensor
from torch import Tensor


class RandMaskBlocksd(Randomizable, MapTransform):
    """Replace random blocks of a view by the mean of what stays visible, and add the mask of the hidden voxels.

    The view is divided into equal blocks; a share of them, drawn anew for each view, is hidden. View ``view_k`` gets a
    mask ``masked_k``: bool, shape ``(1, *spatial)``. Hidden voxels hold the mean of the visible ones, of each channel,
    which is the 0 of standardised images (Wald et al., 2025, https://arxiv.org/abs/2410.23132).

    Args:
        keys: views of shape ``(C, *spatial)``, named ``view_1`` and on.
        hidden: smallest and largest share of the blocks that are hidden.
        block_size: voxels of a block along each axis; by default an eighth of the view, at least 2 along the first two
            axes. The last blocks of an axis may be smaller.

    Raises:
        ValueError: if the shares are not in order between 0 and 1, or a block is larger than the view.

    Example:
        >>> mask = RandMaskBlocksd("view_1", hidden=(0.75, 0.75), block_size=(2, 2)).set_random_state(seed=0)
        >>> sample = mask({"view_1": torch.arange(16.0).reshape(1, 4, 4)})
        >>> sample["masked_1"].sum().item(), sample["view_1"].unique().numel()
        (12, 5)
    """

    def __init__(
        self,
        keys: KeysCollection,
        hidden: tuple[float, float] = (0.6, 0.75),
        block_size: Sequence[int] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        if not 0 < hidden[0] <= hidden[1] < 1:
            raise ValueError(f"hidden must be two shares between 0 and 1, the smaller first, got {list(hidden)}.")
        self.hidden = hidden
        self.block_size = block_size
        self.mask = np.zeros((1, 1), dtype=bool)

    def randomize(self, data: Sequence[int]) -> None:
        """Draw the mask of a view of the given spatial shape."""
        size = self._size(data)
        counts = [-(-n // block) for n, block in zip(data, size, strict=True)]
        total = int(np.prod(counts))
        share = self.R.uniform(*self.hidden)
        # At least one block is hidden, and one is not.
        hidden = np.arange(total) < np.clip(round(share * total), 1, max(total - 1, 1))
        mask = self.R.permutation(hidden).reshape(counts)
        for axis, (block, n) in enumerate(zip(size, data, strict=True)):
            mask = np.take(mask, np.arange(n) // block, axis=axis)
        self.mask = mask

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the sample with masked views and their masks; the input is not changed."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            view = convert_to_tensor(sample[key], dtype=torch.float32, track_meta=False)
            self.randomize(view.shape[1:])
            mask = torch.from_numpy(self.mask)
            sample[key] = _hidden(view, mask)
            sample[str(key).replace("view", "masked")] = mask[None]
        return sample

    def _size(self, shape: Sequence[int]) -> Sequence[int]:
        size = self.block_size or [max(n // 8, 2 if axis < 2 else 1) for axis, n in enumerate(shape)]
        if len(size) != len(shape) or any(not 1 <= block < n for block, n in zip(size, shape, strict=True)):
            raise ValueError(f"Blocks of block_size {list(size)} do not divide a view of size {list(shape)}.")
        return size


def _hidden(view: Tensor, mask: Tensor) -> Tensor:
    means = (view * ~mask).flatten(1).sum(1) / (~mask).sum()
    return torch.where(mask, means.reshape(-1, *[1] * mask.dim()), view)
