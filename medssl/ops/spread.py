"""How far embeddings are from being all equal."""

import torch
from torch import Tensor
from torch.nn import functional as F

from medssl.ops.distributed import gather_rows


@torch.no_grad()
def spread(rows: Tensor) -> Tensor:
    """Give the mean standard deviation of unit embeddings over the batch, times the root of their length.

    It is 0 if all point the same way, and near 1 if they point everywhere alike: the sign of collapse of Chen & He
    (2021, https://arxiv.org/abs/2011.10566, section 4.1). Over the rows of all ranks, without a gradient.

    Args:
        rows: embeddings of any length, shape ``(N, C)``.

    Returns:
        A scalar in float32.

    Example:
        >>> spread(torch.ones(4, 8)).item(), spread(torch.eye(4)).item() > 0.8
        (0.0, True)
    """
    unit = gather_rows(F.normalize(rows.detach().float(), dim=1))
    return unit.std(dim=0, correction=0).mean() * unit.shape[1] ** 0.5
