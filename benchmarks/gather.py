"""Embeddings of 10 x 1,024 voxels from a 5-level pyramid (32 to 512 channels, 128 x 128 x 32), forward and backward.

    python benchmarks/gather.py [--quick]

Both peers are plain restatements. One projects every level to 32 channels at all of its cells, then indexes sample by
sample; the other also upsamples all projected levels to the finest grid, and then indexes. Ours gathers the sampled
voxels of each level in one operation and projects only those. All add up the same maps. One thread.

The target of 15 times faster is met on channels-last maps. On contiguous maps it is out of reach: filling the gradient
of the pyramid with zeros, which every way of indexing must do, takes two thirds of our time and alone bounds the ratio
at 18; the rest reads and writes single floats from 992 places a voxel, one cache line each.
"""

import functools
import itertools
import sys
from collections.abc import Callable

import torch
from measuring import Row, best_of, in_fresh_process, print_rows
from torch import Tensor
from torch.nn import functional as F

from medssl.networks.fpn import LevelProjections
from medssl.ops.pyramid import crop_like, gather_levels

STAGE = "gather"
CHANNELS = (32, 64, 128, 256, 512)
OUT_CHANNELS = 32
SIZES = {True: ((128, 128, 32), 1024), False: ((32, 32, 16), 64)}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last_3d": torch.channels_last_3d}


def ours(pyramid: list[Tensor], voxels: Tensor, projections: LevelProjections) -> Tensor:
    """Gather, then project, as medssl does."""
    return torch.cat(projections.rows(gather_levels(pyramid, voxels)), dim=1)


def project_all(pyramid: list[Tensor], voxels: Tensor, projections: LevelProjections) -> Tensor:
    """Plain restatement: project every cell, then read sample by sample and level by level."""
    levels = projections(pyramid)
    samples = []
    for sample in range(len(levels[0])):
        own = voxels[voxels[:, 0] == sample, 1:]
        rows = [level[sample][:, *(own // 2**i).unbind(1)] for i, level in enumerate(levels)]
        samples.append(torch.cat(rows).T)
    return torch.cat(samples)


def upsample_all(pyramid: list[Tensor], voxels: Tensor, projections: LevelProjections) -> Tensor:
    """Plain restatement: project every cell, upsample every level to the finest grid, then read."""
    levels = projections(pyramid)
    full = [F.interpolate(x, scale_factor=float(2**i), mode="nearest") for i, x in enumerate(levels)]
    stacked = torch.cat([crop_like(x, full[0]) for x in full], dim=1)
    sample, i, j, k = voxels.unbind(1)
    return stacked[sample, :, i, j, k]


WAYS: dict[str, Callable] = {call.__name__: call for call in (ours, project_all, upsample_all)}


def inputs(batch: int, full: bool, layout: str) -> tuple[list[Tensor], Tensor, LevelProjections]:
    """A pyramid, voxels in the order of their samples, and the projections of its levels."""
    torch.manual_seed(0)
    shape, num_voxels = SIZES[full]
    pyramid = [
        torch.empty(batch, channels, *(-(-n // 2**i) for n in shape))
        .contiguous(memory_format=FORMATS[layout])
        .normal_()
        .requires_grad_()
        for i, channels in enumerate(CHANNELS)
    ]
    positions = torch.stack([torch.randint(n, (batch * num_voxels,)) for n in shape], dim=1)
    voxels = torch.cat([torch.arange(batch).repeat_interleave(num_voxels)[:, None], positions], dim=1)
    return pyramid, voxels, LevelProjections(3, CHANNELS, OUT_CHANNELS)


def step(
    name: str, pyramid: list[Tensor], voxels: Tensor, projections: LevelProjections
) -> tuple[Tensor, list[Tensor]]:
    """The embeddings and the gradients of every level and projection for the sum of their squares."""
    embeddings = WAYS[name](pyramid, voxels, projections)
    leaves = [*pyramid, *projections.parameters()]
    return embeddings.detach(), list(torch.autograd.grad(embeddings.square().sum() / 2, leaves))


def run(name: str, batch: int, full: bool, layout: str) -> None:
    """Run it once and nothing else, to measure its memory."""
    step(name, *inputs(batch, full, layout))


def hold(batch: int, full: bool, layout: str) -> None:
    """Hold the input and the gradient that every variant needs."""
    pyramid, *_ = inputs(batch, full, layout)
    _ = [torch.zeros_like(level).add_(0) for level in pyramid]


@functools.cache
def memory_of(function: str, *arguments: object) -> float:
    """The peak memory of a fresh process, in MiB."""
    return in_fresh_process("gather", function, *arguments).peak_mib


def extra_memory(name: str, *arguments: object) -> float:
    """The MiB beyond the pyramid and its gradient; at least 1, the noise level."""
    return max(memory_of("run", name, *arguments) - memory_of("hold", *arguments), 1.0)


def difference(peer: str, *given: object) -> str:
    """The distance of our embeddings and gradients from the peer's."""
    mine, theirs = (step(name, *given) for name in ("ours", peer))
    errors = [_relative(a, b) for a, b in itertools.chain([(mine[0], theirs[0])], zip(mine[1], theirs[1], strict=True))]
    if max(errors) > 1e-5:
        raise AssertionError(f"Gathering differs from {peer}: {errors}")
    return f"embeddings and gradients within {max(errors):.0e} of the peer's"


def _relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def compared(peer: str, batch: int, full: bool, layout: str, targets: tuple[float | None, float | None]) -> list[Row]:
    """The rows of gathering compared with a peer."""
    given = inputs(batch, full, layout)
    note = difference(peer, *given)
    # In turns, so that both see the same load on the machine.
    seconds = [(best_of(lambda: step("ours", *given), 1), best_of(lambda: step(peer, *given), 1)) for _ in range(3)]
    mine, theirs = (min(column) for column in zip(*seconds, strict=True))
    zeros = best_of(lambda: [torch.zeros_like(level) for level in given[0]])
    limit = f"{zeros:.2g} s: filling the gradient of the pyramid with zeros"
    size = f"{batch} x {SIZES[full][1]:,} voxels, {layout}"
    rows = [Row(STAGE, f"time, {size}", mine, theirs, "s", peer, targets[0], limit, note)]
    if full:
        memory = extra_memory("ours", batch, full, layout), extra_memory(peer, batch, full, layout)
        beyond = "beyond the pyramid and its gradient"
        rows.append(Row(STAGE, f"extra peak memory, {size}", *memory, "MiB", peer, targets[1], "0 MiB", beyond))
    return rows


def measure(full: bool) -> list[Row]:
    """All rows; without `full`, small sizes and no memory rows."""
    torch.set_num_threads(1)
    targets = (15.0, 10.0) if full else (None, None)
    batch = 10 if full else 2
    return [
        *compared("project_all", batch, full, "contiguous", targets),
        *compared("project_all", batch, full, "channels_last_3d", targets),
        *compared("upsample_all", 2, full, "contiguous", targets),
    ]


def profile(full: bool) -> str:
    """The time by operator, as text."""
    given = inputs(10 if full else 2, full, "channels_last_3d")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as record:
        step("ours", *given)
    return record.key_averages().table(sort_by="self_cpu_time_total", row_limit=8)


if __name__ == "__main__":
    quick = "--quick" in sys.argv
    print_rows(measure(full=not quick))
    print(profile(full=not quick))
