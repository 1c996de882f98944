"""Scale-aware crops: small windows of an image at its own resolution."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Randomizable, Transform
from monai.utils import ensure_tuple, ensure_tuple_rep
from numpy.typing import NDArray
from torch import Tensor

from medssl.transforms.crops import cut_view, of_case, plain_image, with_views


class RandScaleAwareCropsd(Randomizable, Transform):
    """Cut small windows of one size at random: the scale-aware crops of Quesada and AlRegib (2026), section 3.

    The window is ``L / divisor`` along every axis, where ``L`` is the smallest dimension of the images of a data set,
    or a length in mm. Both are rounded down to a multiple of `stride`, the cells of an encoder's coarsest level, but
    not below `floor`, since a window of one cell would leave batch norm and pooling nothing to work on. A window in
    voxels is used as given.

    With the strategy ``random``, all windows lie anywhere in the image; with ``distance``, the centre of every further
    window lies within `distance` of the centre of the first along each axis.

    Samples are those of `medssl.transforms.crops.RandResizedCropsd`; without `size`, a view has the voxels of its
    window.

    Args:
        keys: keys of the views, such as ``[view_1, view_2]``.
        divisor: 2, 4 or 8 in the paper; 1 for its baseline, which sees whole images.
        window: window in voxels, one number or one per axis, instead of `divisor`.
        window_mm: window in mm, one number or one per axis, instead of `divisor`; needs the affine of the image.
        strategy: ``random`` or ``distance``.
        distance: largest distance in voxels; ``None``: half the window along each axis.
        shortest_side: L in voxels; ``None``: that of each image, so that the windows of a batch may differ.
        stride: multiple to which windows are rounded, in voxels.
        floor: smallest window, in voxels.
        size: voxels of a view after resampling; ``None``: no resampling.
        image_key: key of the image, as for `RandResizedCropsd`.

    Raises:
        ValueError: if not exactly one window is given, the strategy is unknown, the window is larger than the image, or
            `window_mm` is given for an image without an affine.

    Example:
        >>> import torch
        >>> cut = RandScaleAwareCropsd(["view_1", "view_2"], divisor=4, strategy="distance")
        >>> cut({"image": torch.rand(1, 256, 300)})["view_1"].shape
        torch.Size([1, 64, 64])
    """

    def __init__(
        self,
        keys: KeysCollection,
        divisor: int | None = None,
        window: int | Sequence[int] | None = None,
        window_mm: float | Sequence[float] | None = None,
        strategy: str = "random",
        distance: int | None = None,
        shortest_side: int | None = None,
        stride: int = 32,
        floor: int = 32,
        size: Sequence[int] | None = None,
        image_key: str = "image",
    ) -> None:
        if sum(given is not None for given in (divisor, window, window_mm)) != 1:
            raise ValueError("Give exactly one of divisor, window (voxels) and window_mm.")
        sizes = {"divisor": divisor, "window": window, "window_mm": window_mm, "stride": stride, "floor": floor}
        for name, value in sizes.items():
            if value is not None and min(ensure_tuple(value)) <= 0:
                raise ValueError(f"The {name} of scale-aware windows must be above 0, got {value}.")
        if strategy not in ("random", "distance"):
            raise ValueError(f"strategy must be random or distance, got {strategy!r}.")
        self.keys = ensure_tuple(keys)
        self.divisor, self.window, self.window_mm = divisor, window, window_mm
        self.strategy, self.distance = strategy, distance
        self.shortest_side, self.stride, self.floor = shortest_side, stride, floor
        self.size = None if size is None else np.array(size, dtype=int)
        self.image_key = image_key
        self.starts: list[NDArray[np.int_]] = []

    def randomize(self, data: tuple[NDArray[np.int_], NDArray[np.int_]]) -> None:
        """Draw the first voxel of a window for each key, given the spatial shape of the image and the window."""
        shape, window = data
        last = shape - window
        self.starts = [self.R.randint(0, last + 1)]
        reach = last if self.strategy == "random" else window // 2 if self.distance is None else self.distance
        for _ in self.keys[1:]:
            low, high = self.starts[0] - reach, self.starts[0] + reach
            self.starts.append(self.R.randint(np.maximum(low, 0), np.minimum(high, last) + 1))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut the views of a case; the input is not changed."""
        image = plain_image(data, self.image_key)
        shape = np.array(image.shape[1:])
        window = self._window_of(data[self.image_key])
        if (window > shape).any():
            raise ValueError(
                f"The window of {window.tolist()} voxels is larger than the image of {shape.tolist()}"
                f"{of_case(data)}; choose a larger divisor, or a smaller window, stride or floor."
            )
        self.randomize((shape, window))
        size = self._size_of(data[self.image_key], window)
        views = [cut_view(image, start, window, size, data.get("intensity")) for start in self.starts]
        return with_views(data, self.keys, views)

    def _size_of(self, image: Tensor, window: NDArray[np.int_]) -> NDArray[np.int_]:
        """Return the voxels of a view of an image, given its window."""
        return window if self.size is None else self.size

    def _window_of(self, image: Tensor) -> NDArray[np.int_]:
        axes = image.dim() - 1
        if self.window is not None:
            return np.array(ensure_tuple_rep(self.window, axes), dtype=int)
        if self.divisor is not None:
            return self._fraction_of(image, self.divisor)
        if isinstance(image, MetaTensor):
            voxels = (np.array(ensure_tuple_rep(self.window_mm, axes)) / image.pixdim.numpy()[:axes]).astype(int)
        else:
            raise ValueError(
                "window_mm needs the affine of the image, which a volume store does not keep; give window in voxels."
            )
        return self._in_strides(voxels)

    def _fraction_of(self, image: Tensor, divisor: int) -> NDArray[np.int_]:
        """Return the window of L / divisor along every axis of an image."""
        side = self.shortest_side or min(image.shape[1:])
        return self._in_strides(np.full(image.dim() - 1, side // divisor))

    def _in_strides(self, voxels: NDArray[np.int_]) -> NDArray[np.int_]:
        return np.maximum(voxels // self.stride * self.stride, self.floor)


def shortest_side(volumes: Iterable[Mapping[str, Any]], image_key: str = "image") -> int:
    """Smallest spatial dimension of the images of a data set, in voxels.

    Args:
        volumes: preprocessed cases. Those of a data set that has a ``shape``, such as synthetic ones, all have that
            shape, and are not looked at.
        image_key: key of the images, shape ``(C, *spatial)``.

    Example:
        >>> import torch
        >>> shortest_side([{"image": torch.zeros(1, 40, 30)}, {"image": torch.zeros(1, 50, 50)}])
        30
    """
    shape = getattr(volumes, "shape", None)
    return min(shape) if shape else min(min(volume[image_key].shape[1:]) for volume in volumes)
