"""Displacements made finer by gradient descent."""

import torch
from torch import Tensor

from medssl.atlas.fields import displaced, read_at, smoothed

_ITERATIONS, _STEP = 60, 1.0


def refine_displacements(fixed: Tensor, moving: Tensor, start: Tensor, smoothness: float = 0.1) -> Tensor:
    """Displacements, shape ``(3, *grid)``, after descent on the difference of the features and their own roughness.

    The second step of Siebert et al. (see `medssl.atlas.registration`): Adam, with a penalty of squared differences
    between neighbours (diffusion).

    Args:
        fixed: features, shape ``(C, *grid)``.
        moving: features on the same grid.
        start: displacements in cells.
        smoothness: weight of the penalty.
    """
    found = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([found], lr=_STEP)
    for _ in range(_ITERATIONS):
        field = smoothed(found)
        difference = (read_at(moving, displaced(field)) - fixed).square().mean()
        optimizer.zero_grad()
        (difference + smoothness * _roughness(field)).backward()
        optimizer.step()
    return smoothed(found.detach())


def _roughness(field: Tensor) -> Tensor:
    axes = [axis for axis in (1, 2, 3) if field.shape[axis] > 1]
    return sum((field.diff(dim=axis).square().mean() for axis in axes), start=field.new_zeros(()))
