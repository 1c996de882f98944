"""Views of the same patch, aligned voxel by voxel, and random geometry for them."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import RandomizableTransform
from numpy.typing import NDArray
from torch import Tensor

from medssl.ops.warping import bspline_field, read_image, voxel_grid
from medssl.transforms.patches import RandOverlappingPatchesd

_CONTROL_POINTS = 9


class RandAlignedPatchesd(RandOverlappingPatchesd):
    """Cut one patch from an image at random, as two equal views, with its body voxels and its place in the image.

    The patch contains an anchor voxel drawn from the body, and lies within the image; along an axis that is shorter
    than the patch, the image is centred and padded with zeros.

    The resulting sample has the keys

    * ``view_1``, ``view_2``: equal copies, float32, shape ``(C, *patch_size)``,
    * ``affine_1``, ``affine_2``: voxel of the view to voxel of the image, shape ``(d, d + 1)``,
    * ``voxels_1``, ``voxels_2``: the same body voxels in the patch, int64, shape ``(N, d)``, ``1 <= N <= num_voxels``,
    * ``position``: the centre of the patch in the image, 0..1 along each axis, float32, shape ``(d,)``; for slices that
      have a ``position`` in their scan (0..1), that is appended, shape ``(d + 1,)``,
    * ``regions_1``, ``regions_2``, if the input has ``regions`` (`medssl.transforms.superpixels`): the region of every
      voxel, -1 outside the image, int64, shape ``patch_size``,
    * ``case``, if the input has it.

    Args:
        patch_size: voxels along each spatial axis.
        num_voxels: maximum number of body voxels.
        image_key: key of the image, shape ``(C, *spatial)``; it may be stored as integers with ``intensity``, a pair of
            slope and intercept.
        foreground_key: key of the body mask, shape ``(1, *spatial)``; nonzero is body.

    Raises:
        ValueError: if the body mask is empty, or the patch has more or fewer axes than the image.

    Example:
        >>> image = {"image": torch.rand(1, 40, 40), "foreground": torch.ones(1, 40, 40, dtype=torch.bool)}
        >>> sample = RandAlignedPatchesd((16, 16)).set_random_state(seed=0)(image)
        >>> torch.equal(sample["view_1"], sample["view_2"]), sample["position"].shape
        (True, torch.Size([2]))
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut the views of a case, which is not changed."""
        sample = super().__call__(data)
        start, shape = self.starts[0], np.array(data[self.image_key].shape[1:])
        position = (start + self.patch_size / 2) / shape
        if "position" in data:
            position = np.append(position, float(data["position"]))
        sample["position"] = torch.from_numpy(position).float()
        affine = torch.from_numpy(np.column_stack([np.eye(len(start)), start])).float()
        for number in (1, 2):
            del sample[f"clean_{number}"]
            sample[f"affine_{number}"] = affine
            if "regions" in data:
                sample[f"regions_{number}"] = cut_regions(
                    data["regions"].as_subclass(Tensor)[0], start, self.patch_size
                )
        return sample

    def _draw_starts(self, anchor: NDArray[np.int_], shape: NDArray[np.int_]) -> NDArray[np.int_]:
        return np.stack([self._draw_start(anchor, shape)] * 2)


def cut_regions(regions: Tensor, start: NDArray[np.int_], size: NDArray[np.int_]) -> Tensor:
    """Cut a box from a map of ids into a new int64 tensor, with -1 where the box leaves the map.

    Args:
        regions: shape ``(*spatial)``.
        start: first voxel of the box along each axis, negative if it starts outside.
        size: voxels of the box along each axis.

    Example:
        >>> cut_regions(torch.tensor([5, 6, 7]), np.array([1]), np.array([3]))
        tensor([ 6,  7, -1])
    """
    low, high = np.maximum(start, 0), np.minimum(start + size, regions.shape)
    cut = torch.full(tuple(size.tolist()), -1, dtype=torch.int64)
    cut[tuple(map(slice, low - start, high - start))] = regions[tuple(map(slice, low, high))].long()
    return cut


class RandGeometry(RandomizableTransform):
    r"""Rotate, mirror, scale and bend an image at random, in one interpolation; its shape does not change.

    Voxel :math:`p` is read at :math:`c + s R S (p + u(p) - c)` with the centre :math:`c` of the image: a rotation
    :math:`R` in the plane of the first two axes, mirrors :math:`S` along each axis, a scale :math:`s` and displacements
    :math:`u`, a cubic B-spline field of 9 control points along each axis. Outside the image are zeros.

    These are the spatial changes of SuperCL (Zeng et al., figure 2), whose elastic field is filtered noise instead. It
    is an array transform, to be applied by `medssl.transforms.views.PerViewd`.

    Args:
        prob: probability of each of rotation, scale and displacements; an axis is mirrored with probability 0.5.
        max_rotation: largest rotation to either side, in degrees.
        scale: smallest and largest scale.
        displacement: largest displacement of the control points to either side, as a fraction of the image.

    Example:
        >>> RandGeometry().set_random_state(seed=0)(torch.rand(1, 16, 16, 8)).shape
        torch.Size([1, 16, 16, 8])
    """

    def __init__(
        self,
        prob: float = 0.67,
        max_rotation: float = 180.0,
        scale: Sequence[float] = (0.7, 1.3),
        displacement: float = 0.02,
    ) -> None:
        super().__init__(prob=1.0)
        self.change_prob = prob
        self.max_rotation = max_rotation
        self.scale = tuple(scale)
        self.displacement = displacement
        self.matrix = torch.eye(2)
        self.control: Tensor | None = None

    def randomize(self, data: Sequence[int]) -> None:
        """Draw the change of an image of the given spatial shape."""
        dims = len(data)
        turned, scaled, bent = self.R.rand(3) < self.change_prob
        angle = math.radians(self.R.uniform(-self.max_rotation, self.max_rotation)) if turned else 0.0
        scale = self.R.uniform(*self.scale) if scaled else 1.0
        rotation = np.eye(dims)
        rotation[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        self.matrix = torch.from_numpy(scale * rotation * self.R.choice([-1.0, 1.0], dims)).float()
        self.control = None
        if bent:
            drawn = self.R.uniform(-1, 1, (dims, *[_CONTROL_POINTS] * dims)) * self.displacement
            self.control = torch.from_numpy(drawn).float()

    def __call__(self, img: Tensor) -> Tensor:
        """Return a changed copy of an image of shape ``(C, *spatial)``."""
        image = img.as_subclass(Tensor)
        size = tuple(image.shape[1:])
        self.randomize(size)
        extent = torch.tensor(size, dtype=torch.float32)
        offset = voxel_grid(size) - (extent - 1) / 2
        if self.control is not None:
            offset += bspline_field(self.control, size).movedim(0, -1) * extent
        return read_image(image, (extent - 1) / 2 + offset @ self.matrix.T)
