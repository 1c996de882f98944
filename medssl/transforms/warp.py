"""Pairs of a patch and its warped copy, and the voxels that they share."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable, Transform
from torch import Tensor
from torch.nn import functional as F

from medssl.ops.warping import bspline_field, inside, read_image, voxel_grid
from medssl.transforms.patches import RandOverlappingPatchesd, cut_patch

_MAX_ROTATION = {2: 90.0, 3: 45.0}
_CONTROL_POINTS = {2: (5, 9), 3: (7, 9)}


class RandWarpedPaird(Randomizable, Transform):
    r"""Cut a patch from a volume, warp it at random, and list voxels of the warped patch with their origins.

    The spatial augmentation of Pix2Rep (Seince et al., 2024): voxel :math:`p` of ``view_2`` is read in ``view_1`` at

    .. math:: \phi(p) = c + t + s\,R\,S\,(p + u(p) - c)

    with the centre :math:`c` of the patch, a window of :math:`s` times its size, shifted by :math:`t` within it,
    rotated about its own centre by :math:`R` (in 3D about the third axis), and mirrored by :math:`S` along the first
    axis, the second, or neither, with equal probability. Pix2Rep-v2 adds displacements :math:`u`, a sum of cubic
    B-spline fields whose outermost control points are fixed (`medssl.ops.warping.bspline_field`).

    The resulting sample has the keys ``view_1``, ``view_2`` (float32, shape ``(C, *patch_size)``), ``voxels_2``
    (int64, shape ``(N, spatial_dims)``), ``voxels_exact_1`` (float32: where they lie in ``view_1``, between its
    voxels), ``voxels_1`` (int64: the nearest voxels of ``view_1``) and, if present, ``case``. The list holds
    body voxels of ``view_2`` that come from inside ``view_1``, drawn without replacement, or any voxels from inside if
    there is no body among them.

    Args:
        patch_size: voxels along each spatial axis; the patch contains body, see `RandOverlappingPatchesd`.
        num_voxels: maximum length of the list.
        scale: range of the window size, as fractions of the patch.
        max_rotation: largest rotation to either side in degrees; ``None``: 90 in 2D, 45 in 3D.
        displacements: largest displacement of the control points of every field to either side, as fractions of the
            patch; empty: no fields.
        control_points: control points of every field along each axis; ``None``: 5 and 9 in 2D, 7 and 9 in 3D.
        image_key: key of the volume, shape ``(C, *spatial)``.
        foreground_key: key of the body mask, shape ``(1, *spatial)``; nonzero is body.

    Raises:
        ValueError: if the body mask is empty, the patch has more or fewer axes than the volume, `displacements` and
            `control_points` differ in length, or no voxel comes from inside.

    Example:
        >>> volume = {"image": torch.rand(1, 40, 40), "foreground": torch.ones(1, 40, 40, dtype=torch.bool)}
        >>> warp = RandWarpedPaird((32, 32), num_voxels=100, displacements=(0.06, 0.02)).set_random_state(seed=0)
        >>> sample = warp(volume)
        >>> sample["view_2"].shape, sample["voxels_2"].shape, sample["voxels_exact_1"].dtype
        (torch.Size([1, 32, 32]), torch.Size([100, 2]), torch.float32)
    """

    def __init__(
        self,
        patch_size: Sequence[int],
        num_voxels: int = 125,
        scale: Sequence[float] = (0.33, 0.95),
        max_rotation: float | None = None,
        displacements: Sequence[float] = (),
        control_points: Sequence[int] | None = None,
        image_key: str = "image",
        foreground_key: str = "foreground",
    ) -> None:
        self.patches = RandOverlappingPatchesd(patch_size, 1, image_key, foreground_key)
        self.patch_size = tuple(patch_size)
        self.num_voxels = num_voxels
        self.scale = scale
        dims = len(self.patch_size)
        self.max_rotation = _MAX_ROTATION[dims] if max_rotation is None else max_rotation
        self.displacements = displacements
        self.control_points = _CONTROL_POINTS[dims][: len(displacements)] if control_points is None else control_points
        if len(self.control_points) != len(displacements):
            raise ValueError(
                f"Every field needs one of displacements {list(displacements)} and one of control_points "
                f"{list(self.control_points)}."
            )
        self.matrix = torch.eye(dims)
        self.shift = torch.zeros(dims)
        self.fields: list[Tensor] = []

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> "RandWarpedPaird":
        """Set the random state of the patch and of the warp.

        Args:
            seed: seed of a new state.
            state: state to use instead.
        """
        super().set_random_state(seed, state)
        self.patches.set_random_state(seed=int(self.R.randint(2**31)))
        return self

    def randomize(self, data: Any = None) -> None:
        """Draw the warp."""
        dims = len(self.patch_size)
        scale, angle = self.R.uniform(*self.scale), math.radians(self.R.uniform(-self.max_rotation, self.max_rotation))
        rotation = torch.eye(dims)
        rotation[:2, :2] = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        signs = torch.ones(dims)
        axis = self.R.randint(3)
        if axis < 2:
            signs[axis] = -1
        self.matrix = scale * rotation * signs
        room = torch.tensor([(1 - scale) / 2 * (n - 1) for n in self.patch_size])
        self.shift = room * self._uniform(dims)
        self.fields = [
            F.pad(reach * self._uniform(dims, *[points - 2] * dims), [1, 1] * dims)
            for reach, points in zip(self.displacements, self.control_points, strict=True)
        ]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut a patch from a case, warp a copy of it, and list their shared voxels.

        Args:
            data: the volume and its body mask; neither is changed.
        """
        cut = self.patches(data)
        body = data[self.patches.foreground_key].as_subclass(Tensor)
        body = cut_patch(body, self.patches.starts[0], self.patches.patch_size)[0] > 0
        self.randomize()
        positions = self.positions()
        chosen = self._draw_voxels(positions, body)
        exact = _clamp(positions.flatten(0, -2)[chosen], self.patch_size)
        sample = {"case": cut["case"]} if "case" in cut else {}
        return {
            **sample,
            "view_1": cut["view_1"],
            "view_2": read_image(cut["clean_1"], positions),
            "voxels_1": exact.round().long(),
            "voxels_exact_1": exact,
            "voxels_2": torch.stack(torch.unravel_index(chosen, self.patch_size), dim=1),
        }

    def positions(self) -> Tensor:
        """Return the origin of every voxel of the warped patch, shape ``(*patch_size, spatial_dims)``."""
        last = torch.tensor(self.patch_size) - 1.0
        voxels = voxel_grid(self.patch_size)
        for control in self.fields:
            voxels += bspline_field(control, self.patch_size).movedim(0, -1) * last
        return (voxels - last / 2) @ self.matrix.T + (last / 2 + self.shift)

    def _draw_voxels(self, positions: Tensor, body: Tensor) -> Tensor:
        """Draw voxels as indices into the flattened warped patch."""
        valid = inside(positions, self.patch_size)
        if not valid.any():
            raise ValueError("No voxel of the warped patch comes from inside the patch; lower displacements or scale.")
        nearest = _clamp(positions, self.patch_size).round().long().unbind(-1)
        shown = valid & body[nearest]
        candidates = (shown if shown.any() else valid).flatten().nonzero()[:, 0].numpy()
        count = min(self.num_voxels, len(candidates))
        return torch.from_numpy(self.R.choice(candidates, count, replace=False))

    def _uniform(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.R.uniform(-1, 1, shape)).float()


def _clamp(positions: Tensor, size: Sequence[int]) -> Tensor:
    return positions.clamp(min=0).minimum(torch.tensor(size) - 1.0)
