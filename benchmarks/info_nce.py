"""InfoNCE of 10,240 pairs of 128 channels at temperature 0.1, forward and backward, against the full similarity matrix.

    python benchmarks/info_nce.py [--quick]

Peers: the formula with matrices of all rows against all rows, the same as one cross-entropy (both plain
restatements), and MONAI's ContrastiveLoss at the largest number of pairs that it holds in 4 GiB. One thread.

In float32 the target of 6 times is out of reach: the matrix products alone, 215 GFLOP at the measured rate, take 2.1 s,
which bounds the ratio at 5.7, and the exponentials 0.3 s, at 4.9. Fewer products would mean to keep half the
similarities, 800 MiB, and the target of 40 times less memory with them. Tried: blocks of 256 to 2,048 rows,
exponentials in place, one scale folded into the rows, half the tiles by symmetry, separate positives; the profile shows
what remains. In bfloat16, which autocast uses, the target is met twice over.
"""

import functools
import sys
from collections.abc import Callable

import torch
from measuring import Row, best_of, in_fresh_process, print_rows
from monai.losses import ContrastiveLoss
from torch import Tensor
from torch.nn import functional as F

from medssl.losses.info_nce import InfoNCELoss

STAGE = "info_nce"
TEMPERATURE = 0.1
CHANNELS = 128
MONAI_BYTES = 4 * 2**30


def full_matrix(z1: Tensor, z2: Tensor) -> Tensor:
    """Plain restatement: similarities within and between views, the own one masked, log-sum-exp of both together."""
    z1, z2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    own = torch.eye(len(z1), dtype=torch.bool)
    within_1 = (z1 @ z1.T / TEMPERATURE).masked_fill(own, -torch.inf)
    within_2 = (z2 @ z2.T / TEMPERATURE).masked_fill(own, -torch.inf)
    between = z1 @ z2.T / TEMPERATURE
    loss_1 = torch.cat([between, within_1], dim=1).logsumexp(1) - between.diagonal()
    loss_2 = torch.cat([between.T, within_2], dim=1).logsumexp(1) - between.diagonal()
    return (loss_1.mean() + loss_2.mean()) / 2


def cross_entropy(z1: Tensor, z2: Tensor) -> Tensor:
    """Plain restatement with one cross-entropy over the full matrix."""
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    similarity = (z @ z.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    return F.cross_entropy(similarity, torch.arange(len(z)).roll(len(z1)))


def ours(z1: Tensor, z2: Tensor) -> Tensor:
    """The loss of medssl."""
    return InfoNCELoss(TEMPERATURE)(z1, z2)


def ours_bfloat16(z1: Tensor, z2: Tensor) -> Tensor:
    """The loss of medssl under autocast."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return InfoNCELoss(TEMPERATURE)(z1, z2)


def monai(z1: Tensor, z2: Tensor) -> Tensor:
    """The loss of MONAI."""
    return ContrastiveLoss(temperature=TEMPERATURE)(z1, z2)


LOSSES: dict[str, Callable] = {call.__name__: call for call in (full_matrix, cross_entropy, ours, ours_bfloat16, monai)}


def pairs(num_pairs: int) -> list[Tensor]:
    """Two views of random embeddings that resemble each other."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(num_pairs, CHANNELS, generator=generator)
    return [(common + torch.randn(common.shape, generator=generator)).requires_grad_() for _ in range(2)]


def step(name: str, z: list[Tensor]) -> tuple[float, Tensor]:
    """The value and the gradients of a loss."""
    loss = LOSSES[name](*z)
    return loss.item(), torch.cat(torch.autograd.grad(loss, z))


def run(name: str, num_pairs: int) -> None:
    """Compute a loss once and nothing else, to measure its memory."""
    step(name, pairs(num_pairs))


@functools.cache
def memory_of(name: str, num_pairs: int) -> float:
    """The peak memory of a fresh process that computes a loss, in MiB."""
    return in_fresh_process("info_nce", "run", name, num_pairs).peak_mib


def extra_memory(name: str, num_pairs: int) -> float:
    """The MiB that a loss needs beyond its need for a few pairs; at least 1, the noise level."""
    return max(memory_of(name, num_pairs) - memory_of(name, 16), 1.0)


def difference(name: str, peer: str, z: list[Tensor]) -> str:
    """The distance of the value and the gradients of a loss from those of another."""
    (loss, gradient), (expected, expected_gradient) = step(name, z), step(peer, z)
    error = ((gradient - expected_gradient).norm() / expected_gradient.norm()).item()
    if abs(loss - expected) > 1e-3 * expected or error > 1e-2:
        raise AssertionError(f"{name} is not {peer}: loss {loss} and {expected}, gradients off by {error:.1e}")
    return f"loss {abs(loss - expected):.0e}, gradients {error:.0e} (relative) from the peer's"


def matmul_rate(dtype: torch.dtype) -> float:
    """The measured rate of a matrix product, in GFLOP/s."""
    a = torch.ones(2048, 2048, dtype=dtype)
    return 2 * 2048**3 / best_of(lambda: a @ a) / 1e9


def limit(num_pairs: int, dtype: torch.dtype) -> tuple[float, str]:
    """The seconds that the matrix products of a loss take at the measured rate, and a sentence that says so."""
    # A triangle of products for the loss, the same for the gradient, and two products of each tile with embeddings.
    work, rate = 4 * (2 * num_pairs) ** 2 * CHANNELS / 1e9, matmul_rate(dtype)
    return work / rate, f"{work / rate:.2g} s: {work:.0f} GFLOP at {rate:.0f} GFLOP/s"


def compared(name: str, peer: str, num_pairs: int, full: bool, targets: tuple = (None, None)) -> list[Row]:
    """The rows of a loss compared with a peer at one size; memory rows only with `full`."""
    z = pairs(num_pairs)
    note = difference(name, peer, z)
    dtype = torch.bfloat16 if name == "ours_bfloat16" else torch.float32
    # In turns, so that both see the same load on the machine.
    seconds = [(best_of(lambda: step(name, z), 1), best_of(lambda: step(peer, z), 1)) for _ in range(3)]
    mine, theirs = (min(column) for column in zip(*seconds, strict=True))
    size = f"{num_pairs:,} pairs, {'bf16' if dtype == torch.bfloat16 else 'fp32'}"
    rows = [Row(STAGE, f"time, {size}", mine, theirs, "s", peer, targets[0], limit(num_pairs, dtype)[1], note)]
    if full:
        memory = extra_memory(name, num_pairs), extra_memory(peer, num_pairs)
        held = f"{6 * num_pairs * 2 * CHANNELS * 4 / 2**20:.0f} MiB: inputs, embeddings and gradients"
        rows.append(Row(STAGE, f"extra peak memory, {size}", *memory, "MiB", peer, targets[1], held))
    return rows


def largest_for_monai() -> int:
    """The number of pairs, a power of two, that MONAI's loss holds in `MONAI_BYTES`."""
    # It repeats the 2 N embeddings 2 N times: two float32 arrays of (2 N)^2 C, and as much again for their gradients.
    num_pairs = 2
    while 4 * 4 * (2 * 2 * num_pairs) ** 2 * CHANNELS <= MONAI_BYTES:
        num_pairs *= 2
    return num_pairs


def measure(full: bool) -> list[Row]:
    """All rows; without `full`, small sizes and no memory rows."""
    torch.set_num_threads(1)
    num_pairs, monai_pairs = (10240, largest_for_monai()) if full else (1024, 64)
    targets = (6.0, 40.0) if full else (None, None)
    return [
        *compared("ours", "full_matrix", num_pairs, full, targets),
        *compared("ours_bfloat16", "full_matrix", num_pairs, full, targets),
        *compared("ours", "cross_entropy", num_pairs, full),
        *compared("ours", "monai", monai_pairs, full),
    ]


def profile(full: bool) -> str:
    """The time by operator, as text."""
    z = pairs(10240 if full else 1024)
    tables = []
    for name in ("ours", "ours_bfloat16"):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as record:
            step(name, z)
        tables.append(f"{name}\n{record.key_averages().table(sort_by='self_cpu_time_total', row_limit=8)}")
    return "\n".join(tables)


if __name__ == "__main__":
    quick = "--quick" in sys.argv
    print_rows(measure(full=not quick))
    print(profile(full=not quick))
