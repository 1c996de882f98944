"""Local augmentations: voxel shuffling and in-painting inside small blocks (Kats et al., 2024, section 2.1).

Random values are drawn for every key, so the two views of a pair are augmented differently.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_tensor
from numpy.typing import NDArray
from torch import Tensor


class RandLocalShuffled(RandomizableTransform, MapTransform):
    """Shuffle the voxels inside many small blocks at random positions.

    All blocks of a call share one permutation, read from the original and write to a copy; where blocks overlap, the
    last one wins. The defaults affect 29 % of the voxels of a 128 x 128 x 32 patch.

    Args:
        keys: keys of images of shape ``(C, *spatial)``; the channels of a voxel stay together.
        prob: probability of shuffling an image.
        num_blocks: number of blocks in an image.
        block_size: voxels along each spatial axis; by default a twentieth of the image (6 x 6 x 1 in a patch of
            128 x 128 x 32), but at least 2 along the first two axes, since a block of one voxel has no order.

    Raises:
        ValueError: if a block does not fit in an image.

    Example:
        >>> shuffle = RandLocalShuffled("view_1", prob=1, num_blocks=1, block_size=(2, 3)).set_random_state(seed=1)
        >>> shuffle({"view_1": torch.arange(12).reshape(1, 3, 4)})["view_1"]
        tensor([[[ 5.,  2.,  0.,  3.],
                 [ 6.,  4.,  1.,  7.],
                 [ 8.,  9., 10., 11.]]])
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.8,
        num_blocks: int = 5000,
        block_size: Sequence[int] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.sources = np.empty(0, dtype=int)
        self.targets = np.empty(0, dtype=int)

    def randomize(self, data: Sequence[int]) -> None:
        """Draw whether, where and how to shuffle an image of the given spatial shape."""
        super().randomize(None)
        if not self._do_transform:
            return
        size = self._size(data)
        steps = np.cumprod([1, *data[:0:-1]])[::-1]
        inside = sum(np.ix_(*[np.arange(n) * step for n, step in zip(size, steps, strict=True)])).ravel()
        spans = [n - b + 1 for n, b in zip(data, size, strict=True)]
        corners = sum(self.R.randint(n, size=(self.num_blocks, 1)) * step for n, step in zip(spans, steps, strict=True))
        self.targets = (corners + inside).ravel()
        self.sources = (corners + self.R.permutation(inside)).ravel()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the sample with shuffled images; the input is not changed."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            image = convert_to_tensor(sample[key], dtype=torch.float32, track_meta=False)
            self.randomize(image.shape[1:])
            sample[key] = _move(image, self.sources, self.targets) if self._do_transform else image
        return sample

    def _size(self, shape: Sequence[int]) -> Sequence[int]:
        size = self.block_size or [max(n // 20, 2 if axis < 2 else 1) for axis, n in enumerate(shape)]
        if len(size) != len(shape) or any(b > n for b, n in zip(size, shape, strict=True)):
            raise ValueError(f"Blocks of block_size {list(size)} do not fit in an image of size {list(shape)}.")
        return size


def _move(image: Tensor, sources: NDArray[np.int_], targets: NDArray[np.int_]) -> Tensor:
    moved = image.clone(memory_format=torch.contiguous_format)
    # NumPy guarantees that the last of repeated targets wins; torch does not.
    for before, after in zip(image.flatten(1).numpy(), moved.flatten(1).numpy(), strict=True):
        after[targets] = before[sources]
    return moved


class RandLocalInpaintd(RandomizableTransform, MapTransform):
    """Fill boxes at random positions with noise, uniform in [0, 1) and different in every voxel.

    Each further box is added with probability ``continue_prob``, up to ``max_boxes``: with the defaults, 14.9 boxes on
    average, none in 5 % of the images and all 30 in 21 %.

    Args:
        keys: keys of images of shape ``(C, *spatial)`` with values in [0, 1].
        prob: probability of in-painting an image at all.
        max_boxes: maximum number of boxes in an image.
        continue_prob: probability of adding one more box.
        min_box_size: voxels along each spatial axis; by default X // 10 along an axis of X voxels (12 of 128, 3 of 32),
            at least 1.
        max_box_size: likewise, inclusive; by default X // 5 - 1 (24 of 128, 5 of 32), at least 1.
        margin: voxels between a box and the border of the image, fewer where the image is too small.

    Example:
        >>> inpaint = RandLocalInpaintd("view_1").set_random_state(seed=0)
        >>> image = inpaint({"view_1": torch.zeros(1, 40, 40)})["view_1"]
        >>> bool(image[:, 3:-3, 3:-3].any()), bool(image[:, :3].any())
        (True, False)
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 1.0,
        max_boxes: int = 30,
        continue_prob: float = 0.95,
        min_box_size: Sequence[int] | None = None,
        max_box_size: Sequence[int] | None = None,
        margin: int = 3,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.max_boxes = max_boxes
        self.continue_prob = continue_prob
        self.min_box_size = min_box_size
        self.max_box_size = max_box_size
        self.margin = margin
        self.boxes: list[tuple[slice, ...]] = []

    def randomize(self, data: Sequence[int]) -> None:
        """Draw whether to in-paint an image of the given spatial shape, and the boxes."""
        super().randomize(None)
        self.boxes = []
        shape = np.array(data)
        smallest = np.maximum(shape // 10, 1) if self.min_box_size is None else np.array(self.min_box_size)
        largest = np.maximum(smallest, shape // 5 - 1 if self.max_box_size is None else self.max_box_size)
        while self._do_transform and len(self.boxes) < self.max_boxes and self.R.rand() < self.continue_prob:
            self.boxes.append(self._draw_box(shape, smallest, largest))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the sample with in-painted images; the input is not changed."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            image = convert_to_tensor(sample[key], dtype=torch.float32, track_meta=False)
            self.randomize(image.shape[1:])
            sample[key] = self._paint(image)
        return sample

    def _draw_box(
        self, shape: NDArray[np.int_], smallest: NDArray[np.int_], largest: NDArray[np.int_]
    ) -> tuple[slice, ...]:
        size = self.R.randint(smallest, largest + 1)
        margin = np.minimum(self.margin, (shape - size) // 2)
        start = self.R.randint(margin, shape - size - margin + 1)
        return tuple(slice(int(a), int(a + n)) for a, n in zip(start, size, strict=True))

    def _paint(self, image: Tensor) -> Tensor:
        painted = image.clone()
        for box in self.boxes:
            region = painted[(slice(None), *box)]
            region.copy_(torch.from_numpy(self.R.random_sample(tuple(region.shape))))
        return painted
