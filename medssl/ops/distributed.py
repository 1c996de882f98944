"""Tensors across the ranks of a process group; without a group, or in a group of one, nothing is exchanged.

All ranks must call these functions in the same order.
"""

from typing import Any

import torch
import torch.distributed as dist
from monai.utils import evenly_divisible_all_gather
from torch import Tensor


def rank_and_size() -> tuple[int, int]:
    """Return the number of this rank and the number of ranks.

    Example:
        >>> rank_and_size()
        (0, 1)
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """Sum a tensor over all ranks, in place and without a gradient; its shape must be the same on all.

    Example:
        >>> sum_over_ranks(torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    if rank_and_size()[1] > 1:
        dist.all_reduce(values)
    return values


def logsumexp_over_ranks(values: Tensor) -> Tensor:
    """Compute ``log(sum(exp(values)))`` over all ranks, elementwise and without a gradient.

    Args:
        values: tensor of the same shape on all ranks; an element may be ``-inf`` on some ranks, but not on all.

    Example:
        >>> logsumexp_over_ranks(torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    if rank_and_size()[1] == 1:
        return values
    largest = values.clone()
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return sum_over_ranks((values - largest).exp_()).log_().add_(largest)


def global_count(rows: Tensor) -> int:
    """Count the rows of a tensor over all ranks.

    Example:
        >>> global_count(torch.zeros(5, 3))
        5
    """
    if rank_and_size()[1] == 1:
        # Without a tensor, for which a GPU would have to be waited for.
        return len(rows)
    return int(sum_over_ranks(torch.tensor(len(rows), device=rows.device)))


def gather_rows(rows: Tensor) -> Tensor:
    """Gather the rows of all ranks, in the order of the ranks, with a gradient.

    For a loss that every rank computes in the same way from all rows: every rank then has the same gradient of the
    gathered rows, and passes back that of its own rows **times the number of ranks**. `DistributedDataParallel`
    averages over ranks; with this factor, its average is the gradient of a single process with all the rows.

    Args:
        rows: shape ``(n, C)``, where ``n`` may differ between ranks.

    Returns:
        Tensor of shape ``(total, C)``.

    Example:
        >>> gather_rows(torch.zeros(5, 3)).shape
        torch.Size([5, 3])
    """
    return _GatherRows.apply(rows) if rank_and_size()[1] > 1 else rows


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = evenly_divisible_all_gather(rows, concat=False)
        rank, ctx.num_ranks = rank_and_size()
        ctx.start, ctx.length = sum(map(len, parts[:rank])), len(rows)
        return torch.cat(parts)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.narrow(0, ctx.start, ctx.length) * ctx.num_ranks
