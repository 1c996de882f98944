"""Two patches of a volume, and their fusion block by block at a few levels."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable, Transform
from monai.utils import convert_to_tensor
from numpy.typing import NDArray

from medssl.transforms.patches import RandOverlappingPatchesd


class RandTwoPatchesd(RandOverlappingPatchesd):
    """Cut two patches from a volume, each around its own random voxel of the body, as ``view_1`` and ``view_2``.

    Args:
        patch_size: voxels along each spatial axis.
        image_key: key of the volume, shape ``(C, *spatial)``.
        foreground_key: key of the body mask, shape ``(1, *spatial)``; nonzero is body.

    Raises:
        ValueError: if the body mask is empty, or the patch has more or fewer axes than the volume.

    Example:
        >>> volume = {"image": torch.rand(1, 40, 40), "foreground": torch.ones(1, 40, 40, dtype=torch.bool)}
        >>> sorted(RandTwoPatchesd((16, 16)).set_random_state(seed=0)(volume))
        ['view_1', 'view_2']
    """

    def __init__(self, patch_size: Sequence[int], image_key: str = "image", foreground_key: str = "foreground") -> None:
        super().__init__(patch_size, image_key=image_key, foreground_key=foreground_key)

    def randomize(self, data: NDArray[Any]) -> None:
        """Draw the two boxes for a body mask of shape ``(*spatial,)``."""
        shape = np.array(data.shape)
        self.starts = np.stack([self._draw_start(self._draw_anchor(data), shape) for _ in (1, 2)])

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut the patches from a case, which is not changed."""
        sample = super().__call__(data)
        return {key: value for key, value in sample.items() if not str(key).startswith(("clean_", "voxels_"))}


class RandFuseLevelsd(Randomizable, Transform):
    """Fuse ``view_1`` into ``view_2`` in random blocks, and say at which level: ``view_1`` becomes the fused patch.

    A block of level *k* of K holds k/K of view 1 and the rest of view 2; outside all blocks the level is 0. Later
    blocks lie over earlier ones. ``levels`` (int64, shape ``(1, *spatial)``) is the level of every voxel. It is the
    fusion of Wang et al. (2023, https://arxiv.org/abs/2306.16925).

    Args:
        num_levels: K; level K is view 1 alone.
        num_blocks: smallest and largest number of blocks.
        block_share: smallest and largest size of a block in parts of the patch, along each axis.

    Raises:
        ValueError: if the views differ in shape.

    Example:
        >>> fuse = RandFuseLevelsd(num_levels=2).set_random_state(seed=0)
        >>> sample = fuse({"view_1": torch.ones(1, 16, 16), "view_2": torch.zeros(1, 16, 16)})
        >>> torch.equal(sample["view_1"], sample["levels"] / 2)
        True
    """

    def __init__(
        self,
        num_levels: int = 4,
        num_blocks: tuple[int, int] = (10, 40),
        block_share: tuple[float, float] = (0.1, 0.6),
    ) -> None:
        self.num_levels = num_levels
        self.num_blocks = num_blocks
        self.block_share = block_share
        self.levels = np.zeros((1, 1), dtype=np.int64)

    def randomize(self, data: Sequence[int]) -> None:
        """Draw the level of every voxel of a patch of the given spatial shape."""
        shape = np.array(data)
        self.levels = np.zeros(shape, dtype=np.int64)
        for _ in range(self.R.randint(self.num_blocks[0], self.num_blocks[1] + 1)):
            size = np.maximum(np.rint(self.R.uniform(*self.block_share, size=len(shape)) * shape), 1).astype(int)
            start = self.R.randint(0, np.maximum(shape - size, 0) + 1)
            box = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
            self.levels[box] = self.R.randint(1, self.num_levels + 1)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the sample with the fused view and its levels; the input is not changed."""
        sample = dict(data)
        first, second = (convert_to_tensor(sample[key], track_meta=False) for key in ("view_1", "view_2"))
        if first.shape != second.shape:
            raise ValueError(f"Views of shape {tuple(first.shape)} and {tuple(second.shape)} cannot be fused.")
        self.randomize(first.shape[1:])
        levels = torch.from_numpy(self.levels)[None]
        sample["view_1"] = torch.lerp(second, first, levels / self.num_levels)
        sample["levels"] = levels
        return sample
