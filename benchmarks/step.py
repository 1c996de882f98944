"""One training step of 4 pairs of 128 x 128 x 32 (32 channels x 5 levels, 1,024 voxels per pair), from forward to Adam.

    python benchmarks/step.py [--quick | --small]

The peer is a plain restatement of how Kats et al. (2024) publish the step, in float32: every voxel of every level is
projected, then each sample is indexed; the loss has a full similarity matrix. Both have the same weights; that they
have the same loss and gradient norm is checked first. Switches are added one after another. The last rows give the
restatement bfloat16 and channels last too, which the authors' code could have by two lines: what remains is what the
gathered voxels and the tiled loss save. Two threads, one process per variant. `--small` takes 2 pairs of
64 x 64 x 32 on one thread, and user time, for machines with other work.

The step reaches half of the bfloat16 matmul peak; the target was 70 %. It was set on a machine with half this peak,
and batch norms, sums and the first touch of memory are bound by memory. Peak memory is 3 % short of 1.8 times less:
weights, gradients and the state of Adam take 0.7 GiB, nearly all else are activations, and these become fewer only by
recomputing, which makes it 3.3 times less. `docs/results.md` has the effect of the switches on the loss.
"""

import os
import sys
import time

import torch
from measuring import Measured, Row, best_of, in_fresh_process, print_rows
from switch_loss import loss_table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity
from torch.profiler import profile as profiler
from torch.utils.flop_counter import FlopCounterMode

from medssl.methods.hierarchical import Hierarchical
from medssl.networks.fpn import FPN, BalancedPyramid
from medssl.networks.heads import Projector, RestorationHead
from medssl.speed.gate import computes_as_float32
from medssl.speed.switches import Accelerated

STAGE = "step"
THREADS = 2
FULL = {"size": (128, 128, 32), "channels": 32, "levels": 5, "pairs": 4, "voxels": 1024}
SMALL = {"size": (64, 64, 32), "channels": 32, "levels": 5, "pairs": 2, "voxels": 1024}
QUICK = {"size": (32, 32, 16), "channels": 8, "levels": 3, "pairs": 2, "voxels": 128}
VARIANTS: dict[str, tuple[str, ...]] = {
    "float32": (),
    "+ bfloat16": ("amp",),
    "+ channels last": ("amp", "channels_last"),
    "+ recomputed activations": ("amp", "channels_last", "activation_checkpointing"),
}
BEST = "+ channels last"


class PlainMethod(nn.Module):
    """Plain restatement: the losses of a `Hierarchical` method from dense projections and a full similarity matrix."""

    def __init__(self, method: Hierarchical) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss."""
        backbone, head = self.method.backbone, self.method.restoration_head
        pyramids = [backbone(batch[view]) for view in ("view_1", "view_2")]
        rows = [self._rows(pyramid, batch[f"voxels_{i}"]) for i, pyramid in enumerate(pyramids, start=1)]
        z = F.normalize(torch.cat([self.method.projector(row) for row in rows]), dim=1)
        similarity = torch.exp(z @ z.T / 0.1)
        own = torch.eye(len(z), dtype=torch.bool, device=z.device)
        positive = own.roll(len(rows[0]), dims=1)
        contrast = -torch.log((similarity * positive).sum(1) / (similarity * ~own).sum(1)).mean()
        errors = [F.mse_loss(head(pyramid[0]), batch[f"clean_{i}"]) for i, pyramid in enumerate(pyramids, start=1)]
        return {"loss": contrast + 10 * (errors[0] + errors[1]) / 2}

    def _rows(self, pyramid: list[Tensor], voxels: Tensor) -> Tensor:
        projected = self.method.projections(pyramid)
        rows = []
        for sample in range(len(projected[0])):
            x, y, z = voxels[voxels[:, 0] == sample, 1:].unbind(1)
            levels = [level[sample][:, x // 2**i, y // 2**i, z // 2**i] for i, level in enumerate(projected)]
            rows.append(torch.cat(levels).T)
        return torch.cat(rows)


def make_method(channels: int, levels: int) -> Hierarchical:
    """The method of the Kats recipe, with the same weights each time."""
    torch.manual_seed(0)
    network = BalancedPyramid(FPN(3, 1, channels, levels), level_channels=32)
    return Hierarchical(network, Projector((32,) * levels), RestorationHead(3, channels)).train()


def make_batch(size: tuple[int, ...], pairs: int, voxels: int) -> dict[str, Tensor]:
    """Smooth patches with noise, and voxels that pairs share."""
    generator = torch.Generator().manual_seed(0)
    clean = F.interpolate(torch.rand(pairs, 1, *(side // 8 for side in size), generator=generator), size=size)
    noise = 0.05 * torch.randn(2, *clean.shape, generator=generator)
    sample = torch.arange(pairs).repeat_interleave(voxels)
    places = [torch.randint(side, (len(sample),), generator=generator) for side in size]
    shared = torch.stack([sample, *places], dim=1)
    views = {"view_1": clean + noise[0], "view_2": clean**1.5 + noise[1]}
    return {**views, "clean_1": clean, "clean_2": clean.clone(), "voxels_1": shared, "voxels_2": shared.clone()}


def run(switches: list[str], sizes: dict, plain: bool = False) -> dict[str, float]:
    """Take one step, of the plain restatement or of medssl; return its seconds, loss and gradient norm.

    A step of a tiny network comes first, to load and compile what is needed once.
    """
    _step(switches, {"size": (16, 16, 16), "channels": 8, "levels": 2, "pairs": 1, "voxels": 16}, plain)
    return _step(switches, sizes, plain)


def _step(switches: list[str], sizes: dict, plain: bool) -> dict[str, float]:
    method = make_method(sizes["channels"], sizes["levels"])
    network = Accelerated(PlainMethod(method) if plain else method, **dict.fromkeys(switches, True))
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-4)
    batch = make_batch(tuple(sizes["size"]), sizes["pairs"], sizes["voxels"])
    start = _now()
    loss = network(batch)["loss"]
    loss.backward()
    norm = nn.utils.clip_grad_norm_(method.parameters(), 1.0)
    optimizer.step()
    return {"seconds": _now() - start, "loss": loss.item(), "norm": norm.item()}


def _now() -> float:
    # Other work on the machine does not count as time of the only thread.
    return os.times().user if torch.get_num_threads() == 1 else time.perf_counter()


def matmul_peak(precision: str) -> float:
    """The measured operations per second of a product of two square matrices."""
    a = torch.rand(2048, 2048).to(getattr(torch, precision))
    return 2 * 2048**3 / best_of(lambda: a @ a, 5)


def operations(sizes: dict) -> float:
    """The operations of the backbone in a step: forward, and twice that backward, on both patches of a pair."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        FPN(3, 1, sizes["channels"], sizes["levels"])(torch.empty(1, 1, *sizes["size"]))
    return 3 * 2 * sizes["pairs"] * counter.get_total_flops()


def require_equal(plain: dict[str, float], ours: dict[str, float]) -> str:
    """Check that the plain restatement and ours compute the same; return how close they are."""
    loss, norm = (abs(ours[key] / plain[key] - 1) for key in ("loss", "norm"))
    if loss > 1e-4 or norm > 1e-3:
        raise RuntimeError(f"The plain restatement gives {plain}, medssl {ours}: they do not compute the same.")
    return f"loss equal to {loss:.0e}, gradient norm to {norm:.0e}"


def measure(full: bool, small: bool = False) -> list[Row]:
    """Time and memory of each variant, compared with the plain restatement."""
    sizes, threads = (SMALL, 1) if small else (FULL if full else QUICK, THREADS)
    precisions = () if small else ("float32", "bfloat16")
    peaks = {p: in_fresh_process(STAGE, "matmul_peak", p, threads=threads).result for p in precisions}
    plain = in_fresh_process(STAGE, "run", [], sizes, True, threads=threads)
    rows = []
    for name, switches in VARIANTS.items():
        ours = in_fresh_process(STAGE, "run", switches, sizes, threads=threads)
        note = "" if switches else require_equal(plain.result, ours.result)
        peak = peaks.get("bfloat16" if switches else "float32")
        rows += _rows(name, plain, ours, operations(sizes), peak, note)
        if name == BEST:
            fair = in_fresh_process(STAGE, "run", switches, sizes, True, threads=threads)
            fair_rows = _fair_rows(fair, ours)
    return [*rows, *fair_rows]


def _fair_rows(plain: Measured, ours: Measured) -> list[Row]:
    peer, name = "plain restatement, bfloat16, channels last", BEST.removeprefix("+ ")
    note = f"loss {ours.result['loss']:.4f} ({plain.result['loss']:.4f})"
    return [
        Row(STAGE, f"time, bfloat16, {name}", ours.result["seconds"], plain.result["seconds"], "s", peer, note=note),
        Row(STAGE, f"peak memory, bfloat16, {name}", ours.peak_mib, plain.peak_mib, "MiB", peer),
    ]


def _rows(name: str, plain: Measured, ours: Measured, work: float, peak: float | None, note: str) -> list[Row]:
    seconds = ours.result["seconds"]
    note = (
        note or f"loss {ours.result['loss']:.4f} ({plain.result['loss']:.4f}), gradient norm {ours.result['norm']:.4g}"
    )
    limit, targets = "", (None, None)
    if peak is not None:
        limit = f"{work / peak:.3g} s at the matmul peak of {peak / 1e9:.0f} GF/s: {work / peak / seconds:.0%} reached"
        targets = (2.8, 1.8) if name == BEST else (None, None)
    peer = "plain restatement, float32"
    return [
        Row(STAGE, f"time, {name}", seconds, plain.result["seconds"], "s", peer, targets[0], limit, note),
        Row(STAGE, f"peak memory, {name}", ours.peak_mib, plain.peak_mib, "MiB", peer, targets[1]),
    ]


def compiled_parity() -> str:
    """The gate's measurement of `torch.compile` at a small size, as text."""
    lines = []
    for switches in (["compile"], ["amp", "compile"], ["amp", "channels_last", "compile"]):
        network = Accelerated(make_method(16, 2), **dict.fromkeys(switches, True))
        good, report = computes_as_float32(network, make_batch((32, 32, 16), 2, 128))
        lines.append(f"{' + '.join(switches)}: {report}: {'passes' if good else 'REFUSED'}")
    return "\n".join(lines)


def profile(full: bool) -> str:
    """The operations that take longest in a step of one pair, the loss of every switch, and compiled gradients."""
    torch.set_num_threads(THREADS)
    sizes = {**(FULL if full else QUICK), "pairs": 1}
    with profiler(activities=[ProfilerActivity.CPU]) as recorded:
        run(list(VARIANTS[BEST]), sizes)
    operators = recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=40)
    parts = [operators, loss_table(full)]
    if full:
        parts.append(compiled_parity())
    return "\n\n".join(parts)


if __name__ == "__main__":
    print_rows(measure(full="--quick" not in sys.argv, small="--small" in sys.argv))
