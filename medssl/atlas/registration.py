"""Where every cell of a scan lies in another scan."""

from torch import Tensor

from medssl.atlas.affine import affine_of_displacements, box_affine, joined, moved_by
from medssl.atlas.discrete import coupled_displacements, match_costs
from medssl.atlas.fields import displaced, made_consistent, pooled, read_at, resized
from medssl.atlas.refine import refine_displacements
from medssl.ops.warping import voxel_grid

# Cells are matched in boxes of this many, up to this many boxes away: for the affine map, twice, then for the rest.
_AFFINE = ((4, 5), (4, 3))
_BOX, _REACH = 3, 5
_FINE = 2


def register(fixed: Tensor, moving: Tensor) -> Tensor:
    """Positions in the grid of `moving` of all cells of `fixed`, shape ``(*grid, 3)``.

    An affine map is fitted to discrete matches, starting from the one that lays box on box; then discrete matches in
    both directions are brought together, and refined by descent. So the two may show the same part of the body with
    other margins, but not other parts of it.

    Args:
        fixed: features that are alike where the anatomy is, such as those of `medssl.atlas.maps.RegistrationMaps`,
            shape ``(C, *grid)``.
        moving: those of the other scan, on a grid of its own.

    After Siebert et al., "ConvexAdam: self-configuring dual-optimisation-based 3D multitask medical image
    registration", IEEE Transactions on Medical Imaging 2025, with an affine map of its own before.

    Example:
        >>> import torch
        >>> from medssl.atlas.fields import smoothed
        >>> features = smoothed(torch.rand(4, 16, 16, 16, generator=torch.Generator().manual_seed(0)))
        >>> positions = register(features[:, 2:], features)
        >>> [round(shift) for shift in (positions - voxel_grid((14, 16, 16))).mean((0, 1, 2)).tolist()]
        [2, 0, 0]
    """
    cells = voxel_grid(fixed.shape[1:])
    affine = box_affine(fixed.shape[1:], moving.shape[1:])
    for box, reach in _AFFINE:
        warped = read_at(moving, moved_by(affine, cells))
        found = coupled_displacements(match_costs(pooled(fixed, box), pooled(warped, box), reach), reach)
        affine = joined(affine_of_displacements(found, box), then=affine)
    warped = read_at(moving, moved_by(affine, cells))
    start = resized(_both_ways(pooled(fixed, _BOX), pooled(warped, _BOX)), pooled(fixed[:1], _FINE).shape[1:])
    fine = refine_displacements(pooled(fixed, _FINE), pooled(warped, _FINE), start)
    return moved_by(affine, displaced(resized(fine, fixed.shape[1:])))


def _both_ways(fixed: Tensor, moving: Tensor) -> Tensor:
    forth = coupled_displacements(match_costs(fixed, moving, _REACH), _REACH)
    back = coupled_displacements(match_costs(moving, fixed, _REACH), _REACH)
    return made_consistent(forth, back)[0]
