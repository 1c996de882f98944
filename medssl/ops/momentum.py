"""Exponential moving averages of networks."""

import math

import torch
from torch import nn


@torch.no_grad()
def move_towards(average: nn.Module, module: nn.Module, momentum: float) -> None:
    """Update the parameters of a network in place: ``average = momentum * average + (1 - momentum) * module``.

    Buffers, such as batch-norm statistics, are averages already and are copied.

    Args:
        average: network to update.
        module: network of the same architecture.
        momentum: between 0 and 1.

    Example:
        >>> average, module = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(average.weight), nn.init.ones_(module.weight)
        >>> move_towards(average, module, momentum=0.75)
        >>> average.weight.item()
        0.25
    """
    for moving, fixed in zip(average.parameters(), module.parameters(), strict=True):
        moving.lerp_(fixed.to(moving.dtype), 1 - momentum)
    for moving, fixed in zip(average.buffers(), module.buffers(), strict=True):
        moving.copy_(fixed)


def cosine_momentum(start: float, progress: float) -> float:
    """Momentum that rises from `start` to 1 along a cosine (Grill et al., 2020, section 3.2).

    Args:
        start: momentum at the beginning.
        progress: fraction of the training done, from 0 to 1.

    Example:
        >>> cosine_momentum(0.996, 0.0), cosine_momentum(0.996, 0.5), cosine_momentum(0.996, 1.0)
        (0.996, 0.998, 1.0)
    """
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2
