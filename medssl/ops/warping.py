"""Warp a patch: where its voxels come from, and the values of the image there."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Distance outside the image, in voxels, up to which a position counts as inside.
_BORDER = 1e-3


def voxel_grid(size: Sequence[int]) -> Tensor:
    """Index of every voxel, float32 of shape ``(*size, spatial_dims)``.

    Example:
        >>> voxel_grid((1, 2)).tolist()
        [[[0.0, 0.0], [0.0, 1.0]]]
    """
    return torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in size], indexing="ij"), dim=-1)


def bspline_field(control: Tensor, size: Sequence[int]) -> Tensor:
    """Evaluate a field of uniform cubic B-splines on a grid of voxels, shape ``(C, *size)``.

    Control points are spaced evenly from the first to the last voxel of every axis and continued linearly beyond, so
    that at the ends the field has their values. If the outermost points are 0, the border of the grid does not move.

    Args:
        control: values of the control points, shape ``(C, *points)``, at least 2 along each axis.
        size: voxels along each axis.

    Example:
        >>> bspline_field(torch.tensor([[0.0, 1.0, 2.0]]), (5,))
        tensor([[0.0000, 0.5000, 1.0000, 1.5000, 2.0000]])
    """
    field = control
    for axis, n in enumerate(size, start=1):
        weights = _bspline_weights(field.shape[axis], n)
        field = torch.tensordot(field, weights, dims=([axis], [1])).movedim(-1, axis)
    return field


def _bspline_weights(num_points: int, size: int) -> Tensor:
    """Return the weight of every control point at every voxel, shape ``(size, num_points)``."""
    places = torch.linspace(0, num_points - 1, size)
    distance = (places[:, None] - torch.arange(-1, num_points + 1)).abs()
    near = (4 - 6 * distance**2 + 3 * distance**3) / 6
    far = (2 - distance).clamp(min=0) ** 3 / 6
    weights = torch.where(distance < 1, near, far)
    first, inner, last = weights[:, :1], weights[:, 1:-1].clone(), weights[:, -1:]
    # The points beyond the ends continue the line through the last two.
    inner[:, :2] += first * torch.tensor([2.0, -1.0])
    inner[:, -2:] += last * torch.tensor([-1.0, 2.0])
    return inner


def inside(positions: Tensor, size: Sequence[int]) -> Tensor:
    """Tell which positions lie within an image, bool of shape ``(...)``: where a warped image of ones exceeds 0.999.

    Args:
        positions: voxel indices, fractional, shape ``(..., spatial_dims)``.
        size: voxels of the image along each axis.

    Example:
        >>> inside(torch.tensor([[0.0, 3.0], [0.0, 3.1]]), (4, 4)).tolist()
        [True, False]
    """
    outside = torch.maximum(-positions, positions - (positions.new_tensor(size) - 1)).clamp(min=0)
    return (1 - outside).clamp(min=0).prod(dim=-1) > 1 - _BORDER


def read_image(image: Tensor, positions: Tensor) -> Tensor:
    """Interpolate an image at positions, shape ``(C, *out)``; bicubic in 2D, trilinear in 3D, 0 outside.

    For the interpolation, the outermost voxels continue the image beyond its border. Values beyond the range of the
    image, which cubic interpolation produces at edges, are clamped to it.

    Args:
        image: float32, shape ``(C, *size)``.
        positions: voxel indices, fractional, shape ``(*out, spatial_dims)``.

    Example:
        >>> read_image(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
        tensor([[[3., 2.]]])
    """
    last = positions.new_tensor([max(n - 1, 1) for n in image.shape[1:]])
    grid = (2 * positions / last - 1).flip(-1)[None]
    mode = "bicubic" if image.dim() == 3 else "bilinear"
    # Padding with zeros would darken what lies within a voxel of the border.
    values = F.grid_sample(image[None], grid, mode=mode, padding_mode="border", align_corners=True)[0]
    return values.clamp_(float(image.min()), float(image.max())) * inside(positions, image.shape[1:])
