"""Displacements found among all within reach, so that organs far apart can still be matched."""

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from medssl.atlas.fields import smoothed

# How much a displacement must agree with those around it, in one round after the other.
_COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def offsets(reach: int) -> Tensor:
    """All displacements of up to `reach` cells along each axis, shape ``((2 * reach + 1) ** 3, 3)``.

    Example:
        >>> offsets(1)[[0, 13, 26]].tolist()
        [[-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    return torch.tensor(list(product(range(-reach, reach + 1), repeat=3)), dtype=torch.float32)


def match_costs(fixed: Tensor, moving: Tensor, reach: int) -> Tensor:
    """Mean squared difference of every cell to the cells within reach of it, shape ``(D, *grid)``.

    Args:
        fixed: features, shape ``(C, *grid)``.
        moving: features on the same grid. Beyond the border, those of the border count.
        reach: in cells; `D` and their order are those of `offsets`.

    Example:
        >>> line = torch.tensor([[[[0.0, 1.0, 2.0]]]])
        >>> match_costs(line, line, reach=1)[[12, 13, 14], 0, 0].tolist()
        [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """
    padded = F.pad(moving[None], (reach,) * 6, mode="replicate")[0]
    windows = (
        padded[
            (slice(None), *(slice(start, start + size) for start, size in zip(corner, fixed.shape[1:], strict=True)))
        ]
        for corner in product(range(2 * reach + 1), repeat=3)
    )
    return torch.stack([(fixed - window).square().mean(dim=0) for window in windows])


def coupled_displacements(costs: Tensor, reach: int) -> Tensor:
    """The displacements that cost little and are alike in neighbouring cells, in cells, shape ``(3, *grid)``.

    The cost and the smoothness are minimised in turn, while a growing penalty draws their solutions together: Siebert
    et al. (see `medssl.atlas.registration`), after Heinrich et al., "Non-parametric discrete registration with convex
    optimisation", WBIR 2014.

    Args:
        costs: as `match_costs` gives them.
        reach: that they have.
    """
    choices, grid = offsets(reach), costs.shape[1:]
    # One row for each cell, in which the least is found fastest.
    rows = costs.flatten(1).T.contiguous()
    squares = choices.square().sum(dim=1)
    found = smoothed(choices[rows.argmin(dim=1)].T.reshape(3, *grid))
    for weight in _COUPLING:
        # The squared distance to what was found, but for a term that is the same for all choices.
        coupled = torch.addmm(rows, found.flatten(1).T, choices.T, alpha=-2 * weight).add_(weight * squares)
        found = smoothed(choices[coupled.argmin(dim=1)].T.reshape(3, *grid))
    return found
