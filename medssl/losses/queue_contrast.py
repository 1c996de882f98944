"""InfoNCE against a queue of negatives."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.ops.distributed import gather_rows

# Products of queries with the queue that are held at a time: 64 MiB.
_PRODUCTS = 2**24


class QueueContrastLoss(nn.Module):
    r"""The mean InfoNCE loss of queries against their keys and a queue of negatives, a scalar.

    With unit vectors, a query :math:`q` with key :math:`k^+` costs

    .. math:: -\log\frac{\exp(q \cdot k^+ / \tau)}{\exp(q \cdot k^+ / \tau) + \sum_i \exp(q \cdot k_i / \tau)},

    where :math:`k_i` are the rows of the queue (MoCo, He et al., 2020, https://arxiv.org/abs/1911.05722, equation 1).
    Keys and queue get no gradient; the loss can be differentiated once. Computed in float32 by log-sum-exp, whatever
    autocast is set, in memory ``O(N C)``: the ``(N, K)`` products are never held whole. In a process group every rank
    returns the mean over the queries of all ranks; all ranks must call it, with the same queue.

    Args:
        temperature: :math:`\tau`, above 0.

    Raises:
        ValueError: if the temperature is not above 0, or the inputs do not fit together.

    Example:
        >>> z = torch.eye(4)
        >>> loss = QueueContrastLoss(temperature=0.1)
        >>> loss(z[:2], z[:2], z[2:]) < loss(z[:2], z[2:], z[:2])
        tensor(True)
    """

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}.")
        self.temperature = temperature

    def forward(self, query: Tensor, key: Tensor, queue_rows: Tensor) -> Tensor:
        """Return the loss.

        Args:
            query: embeddings, shape ``(N, C)``, of any length.
            key: row *i* is the positive of query *i*, shape ``(N, C)``, of any length.
            queue_rows: unit embeddings, the negatives of every query, shape ``(K, C)``.
        """
        if query.shape != key.shape or query.dim() != 2 or queue_rows.shape[1:] != key.shape[1:]:
            raise ValueError(
                "Queries and keys must have one shape (N, C) and the queue the shape (K, C), got "
                f"{tuple(query.shape)}, {tuple(key.shape)} and {tuple(queue_rows.shape)}."
            )
        with torch.autocast(query.device.type, enabled=False):
            query = F.normalize(query.float(), dim=1)
            key = F.normalize(key.detach().float(), dim=1)
            positive = torch.linalg.vecdot(query, key) / self.temperature
            negatives = _LogSumOfProducts.apply(query / self.temperature, queue_rows.detach().float())
            return gather_rows(F.softplus(negatives - positive)[:, None]).mean()


class _LogSumOfProducts(torch.autograd.Function):
    """``log(sum_k(exp(<q, k>)))`` of every query over the rows of a queue.

    The gradient is the mean of those rows, weighted by their exponentials. It is made with the sum, block by block, so
    that neither products nor exponentials are computed or kept for a backward pass.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, rows: Tensor) -> Tensor:
        log_sums = query.new_empty(len(query))
        means = torch.empty_like(query) if ctx.needs_input_grad[0] else None
        block_size = max(1, _PRODUCTS // len(rows))
        memory = query.new_empty(min(block_size, len(query)), len(rows))
        for start in range(0, len(query), block_size):
            block = slice(start, start + block_size)
            weights = torch.mm(query[block], rows.T, out=memory[: len(query[block])])
            largest = weights.amax(dim=1, keepdim=True)
            sums = weights.sub_(largest).exp_().sum(dim=1, keepdim=True)
            log_sums[block] = (largest + sums.log()).squeeze(1)
            if means is not None:
                means[block] = weights @ rows / sums
        ctx.save_for_backward(means)
        return log_sums

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (means,) = ctx.saved_tensors
        return gradient[:, None] * means, None


def queue_collapse_value(queue_size: int) -> float:
    """Return the loss of embeddings that are all equal, those in the queue included: ``ln(1 + K)``.

    Args:
        queue_size: number of negatives, K.

    Example:
        >>> round(queue_collapse_value(65536), 2)
        11.09
    """
    return math.log(1 + queue_size)
