"""Tensors over the ranks of a process group; with no group, or a group of one, every function is the identity.

All ranks must call these functions in the same order.
"""

from typing import Any

import torch
import torch.distributed as dist
from monai.utils import evenly_divisible_all_gather
from torch import Tensor


def rank_and_size() -> tuple[int, int]:
    """Give the number of this rank and the number of ranks.

    Example:
        >>> rank_and_size()
        (0, 1)
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """Add up a tensor of one shape over all ranks, in place and without a gradient.

    Example:
        >>> sum_over_ranks(torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    if rank_and_size()[1] > 1:
        dist.all_reduce(values)
    return values


def logsumexp_over_ranks(values: Tensor) -> Tensor:
    """Give ``log(sum(exp(values)))`` over all ranks, element by element and without a gradient.

    Args:
        values: of one shape on all ranks; an element may be ``-inf`` on some ranks, not on all.

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
    """Give the number of rows of a tensor, added up over all ranks.

    Example:
        >>> global_count(torch.zeros(5, 3))
        5
    """
    return int(sum_over_ranks(torch.tensor(len(rows), device=rows.device)))


def gather_rows(rows: Tensor) -> Tensor:
    """Give the rows of all ranks, in the order of the ranks, with a gradient.

    Meant for a loss that every rank computes from all rows, alike: then every rank holds the same gradient of the
    gathered rows, and hands back that of its own rows **times the number of ranks**. `DistributedDataParallel` averages
    over ranks; with this factor its average is the gradient that one process with all the rows would get.

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
