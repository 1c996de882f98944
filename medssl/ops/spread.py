"""Spread of embeddings, which is 0 when they collapse."""

import torch
from torch import Tensor
from torch.nn import functional as F

from medssl.ops.distributed import gather_rows


@torch.no_grad()
def spread(rows: Tensor) -> Tensor:
    """Mean standard deviation of unit embeddings over the batch, times the square root of their dimension.

    It is 0 if all point the same way and near 1 if they point evenly in all directions: the measure of collapse of Chen
    & He (2021, https://arxiv.org/abs/2011.10566, section 4.1). It covers the rows of all ranks and has no gradient.

    Args:
        rows: embeddings of any norm, shape ``(N, C)``.

    Returns:
        A scalar in float32.

    Example:
        >>> spread(torch.ones(4, 8)).item(), spread(torch.eye(4)).item() > 0.8
        (0.0, True)
    """
    unit = gather_rows(F.normalize(rows.detach().float(), dim=1))
    return unit.std(dim=0, correction=0).mean() * unit.shape[1] ** 0.5
