"""Pairs of overlapping patches, and the voxels that they share."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable, Transform
from numpy.typing import NDArray
from torch import Tensor

_ANCHOR_TRIES = 256


class RandOverlappingPatchesd(Randomizable, Transform):
    """Cut two overlapping patches from a volume at random, and list the body voxels that they share.

    As in vox2vec (Goncharov et al., 2023) and Kats et al. (2024, section 2.1): an anchor voxel is drawn from the body,
    each patch is drawn uniformly among those in the volume that contain it, and the shared voxels are drawn from the
    body in the overlap, without replacement. Along an axis that is shorter than the patch, the volume is centred in it
    and padded with zeros, which never count as body.

    The resulting sample has the keys ``view_1``, ``view_2`` and ``clean_1``, ``clean_2`` (equal copies, float32,
    shape ``(C, *patch_size)``), ``voxels_1``, ``voxels_2`` (int64, shape ``(N, spatial_dims)``,
    ``1 <= N <= num_voxels``; row i of both is the same voxel of the volume) and, if present in the input, ``case``.

    A volume may be stored as integers together with ``intensity``, a pair of slope and intercept; the values of a patch
    are then ``slope * value + intercept``.

    Args:
        patch_size: voxels along each spatial axis.
        num_voxels: maximum number of shared voxels.
        image_key: key of the volume, shape ``(C, *spatial)``.
        foreground_key: key of the body mask, shape ``(1, *spatial)``; nonzero is body.

    Raises:
        ValueError: if the body mask is empty, or the patch has more or fewer axes than the volume.

    Example:
        >>> volume = {"image": torch.rand(1, 40, 40, 20), "foreground": torch.ones(1, 40, 40, 20, dtype=torch.bool)}
        >>> cut = RandOverlappingPatchesd((16, 16, 8), num_voxels=100).set_random_state(seed=0)
        >>> sample = cut(volume)
        >>> sample["view_1"].shape, sample["voxels_1"].shape
        (torch.Size([1, 16, 16, 8]), torch.Size([100, 3]))
        >>> read = [sample[f"view_{i}"][0][tuple(sample[f"voxels_{i}"].T)] for i in (1, 2)]
        >>> torch.equal(*read)
        True
    """

    def __init__(
        self,
        patch_size: Sequence[int],
        num_voxels: int = 1024,
        image_key: str = "image",
        foreground_key: str = "foreground",
    ) -> None:
        self.patch_size = np.array(patch_size, dtype=int)
        self.num_voxels = num_voxels
        self.image_key = image_key
        self.foreground_key = foreground_key
        self.starts = np.zeros((2, len(patch_size)), dtype=int)
        self.voxels = np.zeros((1, len(patch_size)), dtype=int)

    def randomize(self, data: NDArray[Any]) -> None:
        """Draw the two boxes and the shared voxels from a body mask of shape ``(*spatial,)``."""
        shape = np.array(data.shape)
        anchor = self._draw_anchor(data)
        self.starts = self._draw_starts(anchor, shape)
        low = np.maximum(self.starts.max(axis=0), 0)
        high = np.minimum(self.starts.min(axis=0) + self.patch_size, shape)
        overlap = data[_box(low, high)]
        body = np.flatnonzero(overlap)
        chosen = body[_draw_distinct(self.R, len(body), min(self.num_voxels, len(body)))]
        self.voxels = np.stack(np.unravel_index(chosen, overlap.shape), axis=1) + low

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut the pair of patches from a case.

        Args:
            data: the volume and its body mask; neither is changed.
        """
        # Subclasses of Tensor slow down every small operation. This is a view, not a copy.
        image = data[self.image_key].as_subclass(Tensor)
        foreground = data[self.foreground_key].as_subclass(Tensor)
        if foreground.ndim != len(self.patch_size) + 1 or image.shape[1:] != foreground.shape[1:]:
            raise ValueError(
                f"patch_size {self.patch_size.tolist()} needs an image and a body mask of one channel axis and "
                f"{len(self.patch_size)} equal spatial axes, got {tuple(image.shape)} and {tuple(foreground.shape)}."
            )
        self.randomize(foreground[0].numpy())
        sample = {"case": data["case"]} if "case" in data else {}
        for number, start in enumerate(self.starts, start=1):
            clean = cut_patch(image, start, self.patch_size, data.get("intensity"))
            sample[f"clean_{number}"] = clean
            sample[f"view_{number}"] = clean.clone()
            sample[f"voxels_{number}"] = torch.from_numpy(self.voxels - start)
        return sample

    def _draw_anchor(self, body: NDArray[Any]) -> NDArray[np.int_]:
        # A body fills much of its scan, so a few random voxels hit it; listing all its voxels takes 1000 times longer.
        tries = np.stack([self.R.randint(size, size=_ANCHOR_TRIES) for size in body.shape])
        hits = np.flatnonzero(body[tuple(tries)])
        if len(hits) > 0:
            return tries[:, hits[0]]
        voxels = np.flatnonzero(body)
        if len(voxels) == 0:
            raise ValueError("The body mask is empty; there is nothing to draw patches from.")
        return np.array(np.unravel_index(voxels[self.R.randint(len(voxels))], body.shape))

    def _draw_starts(self, anchor: NDArray[np.int_], shape: NDArray[np.int_]) -> NDArray[np.int_]:
        return np.stack([self._draw_start(anchor, shape), self._draw_start(anchor, shape)])

    def _draw_start(self, anchor: NDArray[np.int_], shape: NDArray[np.int_]) -> NDArray[np.int_]:
        low = np.maximum(anchor - self.patch_size + 1, 0)
        high = np.minimum(anchor, shape - self.patch_size)
        spare = self.patch_size - shape
        drawn = self.R.randint(low, np.maximum(high, low) + 1)
        return np.where(spare > 0, -(spare // 2), drawn)


def cut_patch(
    image: Tensor, start: NDArray[np.int_], size: NDArray[np.int_], intensity: tuple[float, float] | None = None
) -> Tensor:
    """Cut a box from an image into a new float32 tensor, with zeros where the box leaves the image.

    Args:
        image: shape ``(C, *spatial)``; may be mapped from a file, of which little more than the box is read.
        start: first voxel of the box along each spatial axis, negative if it starts outside.
        size: voxels of the box along each spatial axis.
        intensity: slope and intercept of an image that is stored as integers.

    Example:
        >>> image = torch.arange(4, dtype=torch.int16).reshape(1, 4)
        >>> cut_patch(image, np.array([2]), np.array([3]), intensity=(0.5, 10.0))
        tensor([[11.0000, 11.5000,  0.0000]])
    """
    low = np.maximum(start, 0)
    high = np.minimum(start + size, image.shape[1:])
    make = torch.empty if np.array_equal(high - low, size) else torch.zeros
    patch = make((image.shape[0], *size.tolist()), dtype=torch.float32)
    inside = patch[(slice(None), *_box(low - start, high - start))]
    inside.copy_(image[(slice(None), *_box(low, high))])
    if intensity is not None:
        slope, intercept = intensity
        inside.mul_(slope).add_(intercept)
    return patch


def _box(low: NDArray[np.int_], high: NDArray[np.int_]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _draw_distinct(random: np.random.RandomState, population: int, count: int) -> NDArray[np.int_]:
    """Draw distinct integers below ``population``; permuting a large population would cost far more."""
    if 2 * count >= population:
        return random.permutation(population)[:count]
    drawn = np.empty(0, dtype=int)
    while len(drawn) < count:
        drawn = np.concatenate([drawn, random.randint(population, size=2 * count)])
        drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
    return drawn[:count]
