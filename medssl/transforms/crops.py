"""Views cut from an image, each with the affine that says where its voxels lie in the image.

The affine of a view is ``A``, shape ``(d, d + 1)``: the centre of view voxel ``j`` lies at ``A[:, :d] @ j + A[:, d]``,
in voxels of the image. A box that starts at voxel ``l`` and has ``e`` voxels, resampled to ``n``, has
``A[i, i] = e_i / n_i`` and ``A[i, d] = l_i + (e_i / n_i - 1) / 2``.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import Randomizable, Transform
from monai.utils import ensure_tuple
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medssl.transforms.patches import cut_patch

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
_MEANS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_OF_VIEWS = ("view_", "affine_", "clean_", "voxels_", "regions_")


class RandResizedCropsd(Randomizable, Transform):
    """Cut boxes of random size and position, and resample each to one size (see `cut_view`).

    The random resized crop of SimCLR and its successors, in any number of dimensions: a box covers a fraction of the
    image's voxels drawn from `scale`, has nearly the proportions of `size`, and lies anywhere in the image. A box that
    would not fit is shrunk along all axes alike.

    The resulting sample has ``case`` and, for each key such as ``view_1``, the view (float32, shape ``(C, *size)``) and
    ``affine_1`` (float32, shape ``(d, d + 1)``, see `medssl.transforms.crops`). Such keys of the input are kept, so
    that several of these transforms can follow each other; the image is kept only with `keep_image`.

    Args:
        keys: keys of the views, such as ``[view_1, view_2]``.
        size: voxels of a view along each axis.
        scale: smallest and largest fraction of the image's voxels.
        image_key: key of the image, shape ``(C, *spatial)``; it may be stored as integers with ``intensity``, a pair of
            slope and intercept. Nothing outside the box is read.
        aspect: largest ratio between the magnifications along two axes.
        keep_image: keep the image in the sample, for a transform that cuts further views from it.
        size_share: fraction of `size` that a view has along each axis, for local views.
        size_floor: voxels below which `size_share` makes no axis smaller; shorter axes of `size` stay as they are.

    Raises:
        ValueError: if `scale` is not a range within 0..1, or image and `size` differ in their number of axes.

    Example:
        >>> sample = RandResizedCropsd(["view_1", "view_2"], size=(16, 16))({"image": torch.rand(1, 40, 30)})
        >>> sorted(sample), sample["view_1"].shape, sample["affine_1"].shape
        (['affine_1', 'affine_2', 'view_1', 'view_2'], torch.Size([1, 16, 16]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: Sequence[int],
        scale: Sequence[float] = (0.2, 1.0),
        image_key: str = "image",
        aspect: float = 4 / 3,
        keep_image: bool = False,
        size_share: float = 1.0,
        size_floor: int = 1,
    ) -> None:
        self.keys = ensure_tuple(keys)
        whole = np.array(size, dtype=int)
        self.size = np.maximum(np.rint(whole * size_share).astype(int), np.minimum(whole, size_floor))
        self.scale = tuple(scale)
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be a range of fractions between 0 and 1, got {list(scale)}.")
        self.image_key = image_key
        self.log_aspect = float(np.log(aspect))
        self.keep_image = keep_image
        self.boxes: list[tuple[NDArray[np.int_], NDArray[np.int_]]] = []

    def randomize(self, data: NDArray[np.int_]) -> None:
        """Draw the first voxel and the extent of a box for each key, in an image of the given spatial shape."""
        self.boxes = []
        for _ in self.keys:
            extent = self._draw_extent(data)
            self.boxes.append((self.R.randint(0, data - extent + 1), extent))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut the views of a case; the input is not changed."""
        image = plain_image(data, self.image_key)
        if image.dim() != len(self.size) + 1:
            raise ValueError(
                f"size {self.size.tolist()} needs an image of {len(self.size)} spatial axes, got shape "
                f"{tuple(image.shape)}{of_case(data)}."
            )
        self.randomize(np.array(image.shape[1:]))
        views = [cut_view(image, *box, self.size, data.get("intensity")) for box in self.boxes]
        return with_views(data, self.keys, views, self.keep_image)

    def _draw_extent(self, shape: NDArray[np.int_]) -> NDArray[np.int_]:
        stretch = self.R.uniform(-0.5, 0.5, size=len(shape)) * self.log_aspect
        box = self.size * np.exp(stretch - stretch.mean())
        share = self.R.uniform(*self.scale)
        zoom = min((share * np.prod(shape / box)) ** (1 / len(shape)), (shape / box).min())
        return np.clip(np.rint(box * zoom).astype(int), 1, shape)


class RandViewFlipsd(Randomizable, Transform):
    """Mirror each view along each axis at random, and update its affine.

    ``clean_k``, ``regions_k`` and ``voxels_k``, where present, lie on the grid of the view and are mirrored with it.

    Args:
        keys: keys of the views, such as ``[view_1, view_2]``, with ``affine_1``, ``affine_2``.
        prob: probability of mirroring an axis.
        axes: spatial axes that may be mirrored; ``None``: all.

    Example:
        >>> sample = {"view_1": torch.arange(3.0)[None], "affine_1": torch.tensor([[1.0, 10.0]])}
        >>> flipped = RandViewFlipsd("view_1", prob=1)(sample)
        >>> flipped["view_1"], flipped["affine_1"]
        (tensor([[2., 1., 0.]]), tensor([[-1., 12.]]))
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.5, axes: Sequence[int] | None = None) -> None:
        self.keys = ensure_tuple(keys)
        self.prob = prob
        self.axes = axes
        self.flipped: list[int] = []

    def randomize(self, data: Iterable[int]) -> None:
        """Draw which of the axes are mirrored."""
        self.flipped = [axis for axis in data if self.R.rand() < self.prob]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the sample with its views mirrored."""
        sample = dict(data)
        for key in self.keys:
            number = str(key).removeprefix("view_")
            spatial = sample[key].shape[1:]
            self.randomize(range(len(spatial)) if self.axes is None else self.axes)
            for name in (key, f"clean_{number}", f"regions_{number}"):
                if name in sample and self.flipped:
                    dims = [axis - len(spatial) for axis in self.flipped]
                    sample[name] = sample[name].flip(dims)
            affine, voxels = sample[f"affine_{number}"].clone(), sample.get(f"voxels_{number}")
            for axis in self.flipped:
                affine[:, -1] += affine[:, axis] * (spatial[axis] - 1)
                affine[:, axis] *= -1
            sample[f"affine_{number}"] = affine
            if voxels is not None and self.flipped:
                mirrored = voxels.clone()
                mirrored[:, self.flipped] = torch.tensor(spatial)[self.flipped] - 1 - voxels[:, self.flipped]
                sample[f"voxels_{number}"] = mirrored
        return sample


def cut_view(
    image: Tensor,
    start: NDArray[np.int_],
    extent: NDArray[np.int_],
    size: NDArray[np.int_],
    intensity: tuple[float, float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Cut a box from an image, resample it linearly, and return it with its affine (see `medssl.transforms.crops`).

    Where one voxel of the view covers two or more of the box, groups of whole voxels are averaged before resampling;
    voxels left over at the upper end of the box are not part of the view.

    Args:
        image: shape ``(C, *spatial)``.
        start: first voxel of the box along each axis.
        extent: voxels of the box along each axis.
        size: voxels of the view along each axis.
        intensity: slope and intercept of an image that is stored as integers.

    Example:
        >>> image = torch.arange(8.0)[None]
        >>> cut_view(image, np.array([2]), np.array([4]), np.array([2]))
        (tensor([[2.5000, 4.5000]]), tensor([[2.0000, 2.5000]]))
    """
    # Linear interpolation reads only two voxels along an axis, and would skip the others.
    merged = np.maximum(extent // size, 1)
    extent = extent // merged * merged
    view = cut_patch(image, start, extent, intensity)
    if (merged > 1).any():
        view = _MEANS[len(size)](view, tuple(merged.tolist()))
    if (extent != size * merged).any():
        view = F.interpolate(view[None], tuple(size.tolist()), mode=_LINEAR[len(size)], align_corners=False)[0]
    step = extent / size
    affine = np.column_stack([np.diag(step), start + (step - 1) / 2])
    return view, torch.from_numpy(affine).float()


def plain_image(data: Mapping[Hashable, Any], key: str) -> Tensor:
    """Return the image of a sample as a plain tensor, since subclasses slow down every small operation."""
    return data[key].as_subclass(Tensor)


def of_case(data: Mapping[Hashable, Any]) -> str:
    """Return words that name the case of a sample in a message, if it is known."""
    return f" of case {data['case']}" if "case" in data else ""


def with_views(
    data: Mapping[Hashable, Any],
    keys: Sequence[Hashable],
    views: Sequence[tuple[Tensor, Tensor]],
    keep_image: bool = False,
) -> dict[Hashable, Any]:
    """Return the views under their keys, together with those parts of the input that belong in a batch.

    Args:
        data: the input.
        keys: keys of the views.
        views: views with their affines.
        keep_image: keep the whole input.
    """
    kept = {k: v for k, v in data.items() if keep_image or k == "case" or str(k).startswith(_OF_VIEWS)}
    for key, (view, affine) in zip(keys, views, strict=True):
        kept[key] = view
        kept[f"affine_{str(key).removeprefix('view_')}"] = affine
    return kept
