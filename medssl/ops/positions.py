"""Read feature pyramids between voxels."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from medssl.ops.pyramid import gather_voxels


def gather_positions(pyramid: Sequence[Tensor], positions: Tensor, strides: Sequence[int] | None = None) -> Tensor:
    """Interpolate features linearly at fractional voxel positions, between the 2, 4 or 8 voxels around each.

    The rows of `gather_voxels` are interpolated: the result is that of a linear warp of the full-resolution map of
    voxel embeddings, without the memory of that map.

    Args:
        pyramid: feature maps of a batch, finest first.
        positions: shape ``(N, 1 + spatial_dims)``: position in the batch, then the fractional voxel of the image, from
            0 to the size of the axis - 1.
        strides: voxels of the image per cell of each level; ``None``: ``2**i``.

    Returns:
        Tensor of shape ``(N, C_0 + C_1 + ...)``, rows in the order of ``positions``.

    Example:
        >>> ramp = torch.arange(4.0).expand(1, 1, 4, 4)
        >>> gather_positions([ramp], torch.tensor([[0.0, 1.5, 2.25]])).item()
        2.25
    """
    sample, position = positions[:, :1].long(), positions[:, 1:]
    low, high = position.floor(), position.ceil()
    fraction = position - low
    rows = positions.new_zeros(())
    for corner in itertools.product((False, True), repeat=position.shape[1]):
        is_high = torch.tensor(corner, device=positions.device)
        weight = torch.where(is_high, fraction, 1 - fraction).prod(dim=1, keepdim=True)
        voxels = torch.cat([sample, torch.where(is_high, high, low).long()], dim=1)
        rows = rows + weight * gather_voxels(pyramid, voxels, strides)
    return rows
