"""Affine maps between the grids of two scans, as matrices of shape ``(3, 4)``."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medssl.ops.warping import voxel_grid

_ROUNDS, _KEPT = 5, 0.7


def box_affine(fixed: Sequence[int], moving: Sequence[int]) -> Tensor:
    """The map that lays the whole of one grid on the whole of another.

    Args:
        fixed: cells along each axis.
        moving: those of the other grid.

    Example:
        >>> moved_by(box_affine((2, 2, 2), (4, 2, 2)), torch.tensor([0.0, 0.0, 1.0])).tolist()
        [0.5, 0.0, 1.0]
    """
    scale = torch.tensor([theirs / ours for ours, theirs in zip(fixed, moving, strict=True)])
    return torch.cat([torch.diag(scale), ((scale - 1) / 2)[:, None]], dim=1)


def moved_by(affine: Tensor, positions: Tensor) -> Tensor:
    """Positions of shape ``(..., 3)`` after an affine map."""
    return positions @ affine[:, :3].T + affine[:, 3]


def joined(first: Tensor, then: Tensor) -> Tensor:
    """The map that does `first`, and `then` the other.

    Example:
        >>> twice, shift = torch.eye(3, 4) * 2, torch.eye(3, 4) + torch.tensor([0.0, 0.0, 0.0, 1.0])
        >>> moved_by(joined(twice, then=shift), torch.ones(3)).tolist()
        [3.0, 3.0, 3.0]
    """
    return torch.cat([then[:, :3] @ first[:, :3], moved_by(then, first[:, 3])[:, None]], dim=1)


def affine_of_displacements(displacements: Tensor, factor: int) -> Tensor:
    """The affine map that most of the displacements agree with, by least squares over the best 70 % of the cells.

    Args:
        displacements: in cells, shape ``(3, *grid)``.
        factor: length of a cell, in those of the finer grid that the map is for.

    Example:
        >>> shift = torch.ones(3, 4, 4, 4)
        >>> affine_of_displacements(shift, factor=2)[:, 3].round().tolist()
        [2.0, 2.0, 2.0]
    """
    # Centres of cells in the finer grid.
    places = voxel_grid(displacements.shape[1:]).flatten(0, 2) * factor + (factor - 1) / 2
    wanted = places + factor * displacements.flatten(1).T
    terms = torch.cat([places, torch.ones(len(places), 1)], dim=1)
    kept = torch.ones(len(places), dtype=torch.bool)
    for _ in range(_ROUNDS):
        solution = torch.linalg.lstsq(terms[kept], wanted[kept]).solution
        distances = (terms @ solution - wanted).square().sum(dim=1)
        kept = distances <= distances.quantile(_KEPT)
    return solution.T
