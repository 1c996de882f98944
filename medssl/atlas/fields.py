"""Fields of displacements on a grid of cells: read, smoothed, resized and inverted."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from medssl.ops.warping import voxel_grid


def read_at(volume: Tensor, positions: Tensor) -> Tensor:
    """Values of a volume at positions, shape ``(C, *out)``, trilinear; beyond the border, those of the border.

    Args:
        volume: shape ``(C, *size)``.
        positions: fractional indices, shape ``(*out, 3)``.

    Example:
        >>> import torch
        >>> read_at(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[0.0, 0.0, 0.5], [0.0, 0.0, 9.0]]]])).tolist()
        [[[[2.0, 3.0]]]]
    """
    last = positions.new_tensor([max(size - 1, 1) for size in volume.shape[1:]])
    grid = (2 * positions / last - 1).flip(-1)
    return F.grid_sample(volume[None], grid[None], mode="bilinear", padding_mode="border", align_corners=True)[0]


def displaced(displacements: Tensor) -> Tensor:
    """Positions that the cells of a field of shape ``(3, *grid)`` are moved to, shape ``(*grid, 3)``.

    Example:
        >>> import torch
        >>> displaced(torch.ones(3, 1, 1, 2)).tolist()
        [[[[1.0, 1.0, 1.0], [1.0, 1.0, 2.0]]]]
    """
    return voxel_grid(displacements.shape[1:]) + displacements.movedim(0, -1)


def smoothed(values: Tensor, times: int = 2) -> Tensor:
    """The mean over boxes of 3 cells, taken `times` times, of values of shape ``(C, *grid)``."""
    for _ in range(times):
        values = F.avg_pool3d(F.pad(values[None], (1,) * 6, mode="replicate"), 3, stride=1)[0]
    return values


def pooled(values: Tensor, factor: int) -> Tensor:
    """The mean over boxes of `factor` cells; those at the end may be smaller.

    Example:
        >>> import torch
        >>> pooled(torch.tensor([[[[1.0, 3.0, 5.0]]]]), 2).tolist()
        [[[[2.0, 5.0]]]]
    """
    box = [min(factor, size) for size in values.shape[1:]]
    return F.avg_pool3d(values[None], box, ceil_mode=True, count_include_pad=False)[0]


def resized(displacements: Tensor, grid: Sequence[int]) -> Tensor:
    """A field on another grid of the same extent, its displacements in cells of that grid.

    Example:
        >>> import torch
        >>> resized(torch.ones(3, 1, 1, 2), (2, 2, 4))[:, 0, 0].tolist()
        [[2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0]]
    """
    factors = displacements.new_tensor([new / old for new, old in zip(grid, displacements.shape[1:], strict=True)])
    finer = F.interpolate(displacements[None], size=tuple(grid), mode="trilinear", align_corners=False)[0]
    return finer * factors.view(3, 1, 1, 1)


def made_consistent(forth: Tensor, back: Tensor, iterations: int = 15) -> tuple[Tensor, Tensor]:
    """Two fields brought closer to each other's inverse, as Siebert et al. do (see `medssl.atlas.registration`).

    Args:
        forth: displacements, shape ``(3, *grid)``.
        back: displacements in the other direction, on the same grid.
        iterations: each halves what is not consistent.
    """
    for _ in range(iterations):
        forth, back = (
            (forth - read_at(back, displaced(forth))) / 2,
            (back - read_at(forth, displaced(back))) / 2,
        )
    return forth, back
