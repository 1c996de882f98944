"""InfoNCE of 4,096 queries of 128 channels against a queue of 65,536, forward and backward, against one cross-entropy.

    python benchmarks/queue_contrast.py [--quick]

The loss of MoCo, and of DenseCL's cells with its paper's queue. The peer is a plain restatement: a cross-entropy over
the scores of all queries with their key and the whole queue. One thread.
"""

import functools
import sys

import torch
from measuring import Row, best_of, in_fresh_process, print_rows
from torch import Tensor
from torch.nn import functional as F

from medssl.losses.queue_contrast import QueueContrastLoss

STAGE = "queue_contrast"
TEMPERATURE = 0.2
CHANNELS = 128


def cross_entropy(query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
    """Plain restatement with one cross-entropy over all scores."""
    query, key = F.normalize(query, dim=1), F.normalize(key, dim=1)
    scores = torch.cat([(query * key).sum(dim=1, keepdim=True), query @ queue.T], dim=1) / TEMPERATURE
    return F.cross_entropy(scores, torch.zeros(len(query), dtype=torch.long))


def ours(query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
    """The loss of medssl."""
    return QueueContrastLoss(TEMPERATURE)(query, key, queue)


LOSSES = {"ours": ours, "cross_entropy": cross_entropy}


def inputs(num_queries: int, queue_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random queries, their keys and a queue."""
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, num_queries, CHANNELS, generator=generator)
    queue = F.normalize(torch.randn(queue_size, CHANNELS, generator=generator), dim=1)
    return query.requires_grad_(), key, queue


def step(name: str, rows: tuple[Tensor, Tensor, Tensor]) -> tuple[float, Tensor]:
    """The value and the gradient of a loss."""
    loss = LOSSES[name](*rows)
    return loss.item(), torch.autograd.grad(loss, rows[0])[0]


def run(name: str, num_queries: int, queue_size: int) -> None:
    """Compute a loss once and nothing else, to measure its memory."""
    step(name, inputs(num_queries, queue_size))


@functools.cache
def extra_memory(name: str, num_queries: int, queue_size: int) -> float:
    """The MiB that a loss needs beyond its need for one query; at least 1, the noise level."""
    few, many = (in_fresh_process(STAGE, "run", name, n, queue_size).peak_mib for n in (1, num_queries))
    return max(many - few, 1.0)


def difference(rows: tuple[Tensor, Tensor, Tensor]) -> str:
    """The distance of value and gradient from the peer's."""
    (loss, gradient), (expected, expected_gradient) = step("ours", rows), step("cross_entropy", rows)
    error = ((gradient - expected_gradient).norm() / expected_gradient.norm()).item()
    if abs(loss - expected) > 1e-5 * expected or error > 1e-4:
        raise AssertionError(f"loss {loss} and {expected}, gradients off by {error:.1e}")
    return f"loss {abs(loss - expected):.0e}, gradients {error:.0e} (relative) from the peer's"


def measure(full: bool) -> list[Row]:
    """The rows of time and, with `full`, of memory."""
    torch.set_num_threads(1)
    size = (4096, 65536) if full else (256, 4096)
    rows = inputs(*size)
    note = difference(rows)
    # In turns, so that both see the same load on the machine.
    seconds = [
        (best_of(lambda: step("ours", rows), 1), best_of(lambda: step("cross_entropy", rows), 1)) for _ in range(3)
    ]
    mine, theirs = (min(column) for column in zip(*seconds, strict=True))
    work = 4 * size[0] * size[1] * CHANNELS / 1e9
    a = torch.ones(2048, 2048)
    rate = 2 * 2048**3 / best_of(lambda: a @ a) / 1e9
    limit = f"{work / rate:.2g} s: {work:.0f} GFLOP at {rate:.0f} GFLOP/s"
    table = [Row(STAGE, f"time, {size[0]:,} queries, fp32", mine, theirs, "s", "cross_entropy", None, limit, note)]
    if full:
        memory = (extra_memory(name, *size) for name in LOSSES)
        table.append(Row(STAGE, f"extra peak memory, {size[0]:,} queries", *memory, "MiB", "cross_entropy"))
    return table


if __name__ == "__main__":
    print_rows(measure(full="--quick" not in sys.argv))
