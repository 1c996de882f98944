"""Multi-scale crops: windows of several sizes in one pretraining, each pair of one size."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from numpy.typing import NDArray
from torch import Tensor

from medssl.transforms.scale_aware import RandScaleAwareCropsd


class RandMultiScaleCropsd(RandScaleAwareCropsd):
    """Cut windows whose size is drawn for each pair: scale-aware crops for small and large structures at once.

    Quesada and AlRegib (2026) train with windows of one size, the smaller the structure the smaller, and leave
    strategies that reconcile small and large structures to others (section 5). Here the divisor of
    `medssl.transforms.scale_aware.RandScaleAwareCropsd` is drawn with given weights; all views of a sample share it.

    Views of a batch need one size: all windows are resampled to `size`, by default the window of the middle divisor. So
    a larger window is seen coarser and a smaller one finer, unlike in the paper, whose windows keep the resolution of
    the image.

    Args:
        keys: keys of the views, such as ``[view_1, view_2]``.
        divisors: of the smallest dimension of the images, such as 2, 4 and 8.
        weights: of the divisors, in proportion; `medssl advise` prints those that suit the structures of a data set.
        strategy: see `RandScaleAwareCropsd`, as for the others.
        distance: largest distance in voxels of the images.
        shortest_side: L in voxels.
        stride: multiple to which windows are rounded.
        floor: smallest window.
        size: voxels of a view; ``None``: those of the window of the middle divisor.
        image_key: key of the image.

    Raises:
        ValueError: if there is not one weight for each divisor, or none is above 0, and as `RandScaleAwareCropsd`.

    Example:
        >>> import torch
        >>> cut = RandMultiScaleCropsd(["view_1", "view_2"], weights=[1, 0, 1]).set_random_state(seed=0)
        >>> sample = cut({"image": torch.rand(1, 256, 300)})
        >>> sample["view_1"].shape, sample["affine_1"][0, 0]
        (torch.Size([1, 64, 64]), tensor(0.5000))
    """

    def __init__(
        self,
        keys: KeysCollection,
        divisors: Sequence[int] = (2, 4, 8),
        weights: Sequence[float] = (1, 1, 1),
        strategy: str = "random",
        distance: int | None = None,
        shortest_side: int | None = None,
        stride: int = 32,
        floor: int = 32,
        size: Sequence[int] | None = None,
        image_key: str = "image",
    ) -> None:
        if len(divisors) != len(weights) or not divisors:
            raise ValueError(f"Give one weight for each divisor, got {list(weights)} for {list(divisors)}.")
        if min(divisors) <= 0 or min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(
                f"Divisors must be above 0, and weights too or 0, got {list(weights)} for {list(divisors)}."
            )
        self.divisors = sorted(divisors)
        order = np.argsort(divisors)
        self.shares = np.array(weights, float)[order] / sum(weights)
        super().__init__(
            *(keys, self.divisors[0], None, None, strategy, distance, shortest_side, stride, floor, size, image_key)
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut the views of a case; the input is not changed."""
        self.divisor = self.divisors[int(self.R.choice(len(self.divisors), p=self.shares))]
        return super().__call__(data)

    def _size_of(self, image: Tensor, window: NDArray[np.int_]) -> NDArray[np.int_]:
        if self.size is not None:
            return self.size
        return self._fraction_of(image, self.divisors[len(self.divisors) // 2])
