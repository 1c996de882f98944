"""The training step at full size on a GPU: 10 pairs of 128 x 128 x 32, 32 channels x 5 levels, 1,024 voxels per pair.

    python benchmarks/cuda_step.py OUTPUT [--quick] [--device cpu]

It compares plain float32 and TF32 of the same network with the switches, added one after another while their
gradients pass. CUDA events time 50 steps after 10 warm-up steps, with a batch that stays on the device, then with
batches loaded from a volume store. Finally 2,000 real steps are run. The output folder gets ``cuda.md``,
``loss.csv``, ``loss.png`` and the run.
"""

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from measuring import Row, machine, peak_mib, print_rows, table
from step import make_batch, make_method, operations
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from medssl.engines.batches import prepare_views
from medssl.files import replacing
from medssl.phantom.dataset import write_phantom
from medssl.speed.gate import computes_as_float32, first_samples
from medssl.speed.switches import Accelerated
from medssl.workflows.preparing import prepare
from medssl.workflows.training import pretrain

STAGE = "cuda_step"
FULL = {"size": (128, 128, 32), "channels": 32, "levels": 5, "pairs": 10, "voxels": 1024}
QUICK = {"size": (16, 16, 8), "channels": 4, "levels": 2, "pairs": 2, "voxels": 16}
VARIANTS: dict[str, tuple[str, ...]] = {
    "TF32": (),
    "bfloat16": ("amp",),
    "bfloat16, channels last": ("amp", "channels_last"),
    "bfloat16, channels last, compiled": ("amp", "channels_last", "compile"),
}
PEER = "float32, same network"


class Bench:
    """The measurements on one device.

    Args:
        device: a CUDA device, or the CPU to try the script.
        full: the paper's sizes; otherwise tiny ones.
    """

    def __init__(self, device: torch.device, full: bool) -> None:
        self.device = device
        self.sizes = FULL if full else QUICK
        self.warm_up, self.steps, self.real_steps = (10, 50, 2000) if full else (1, 2, 4)
        self.loading: dict[str, Any] = {"num_workers": min(os.cpu_count() or 1, 12) if full else 0}

    def matmul_peak(self) -> float:
        """Operations per second of a bfloat16 product of two square matrices."""
        side = 8192 if self.device.type == "cuda" else 512
        a = torch.rand(side, side, device=self.device, dtype=torch.bfloat16)
        return 2 * side**3 / self.seconds_of(lambda: a @ a)

    def seconds_of(self, step: Callable[[], Any]) -> float:
        """The mean seconds of a step after the warm-up."""
        for _ in range(self.warm_up):
            step()
        if self.device.type != "cuda":
            start = time.perf_counter()
            for _ in range(self.steps):
                step()
            return (time.perf_counter() - start) / self.steps
        torch.cuda.synchronize()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(self.steps):
            step()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1000 / self.steps

    def fixed_batch(self) -> dict[str, torch.Tensor]:
        """A batch that stays on the device."""
        made = make_batch(self.sizes["size"], self.sizes["pairs"], self.sizes["voxels"])
        return prepare_views(made, self.device, False)[0]

    def verdict(self, switches: tuple[str, ...]) -> tuple[bool, str]:
        """Whether the gate allows a variant, measured on two pairs, and its message."""
        method = make_method(self.sizes["channels"], self.sizes["levels"]).to(self.device)
        network = Accelerated(method, **dict.fromkeys(switches, True))
        return computes_as_float32(network, first_samples(self.fixed_batch(), 2))

    def step_of(self, switches: tuple[str, ...], batches: Iterator[dict]) -> Callable[[], torch.Tensor]:
        """A function that takes one training step on the next batch."""
        method = make_method(self.sizes["channels"], self.sizes["levels"]).to(self.device)
        network = Accelerated(method, **dict.fromkeys(switches, True))
        optimizer = torch.optim.Adam(method.parameters(), lr=3e-4)

        def step() -> torch.Tensor:
            optimizer.zero_grad()
            loss = network(prepare_views(next(batches), self.device, True)[0])["loss"]
            loss.backward()
            nn.utils.clip_grad_norm_(method.parameters(), 1.0)
            optimizer.step()
            return loss

        return step

    def timed(self, switches: tuple[str, ...], batches: Iterator[dict]) -> tuple[float, float]:
        """Seconds of a step and peak memory in MiB."""
        if self.device.type != "cuda":
            return self.seconds_of(self.step_of(switches, batches)), peak_mib()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        seconds = self.seconds_of(self.step_of(switches, batches))
        return seconds, torch.cuda.max_memory_allocated() / 2**20


def set_tf32(allowed: bool) -> None:
    """Allow or forbid TF32 in convolutions and matrix products."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def forever(batch: dict) -> Iterator[dict]:
    """Yield one batch forever."""
    while True:
        yield batch


def step_rows(bench: Bench, peak: float) -> tuple[list[Row], tuple[str, ...], float]:
    """The rows of all variants, the switches of the fastest one and its seconds."""
    batch, work = bench.fixed_batch(), operations(bench.sizes)
    set_tf32(False)
    plain = bench.timed((), forever(batch))
    set_tf32(True)
    rows, best = [], ((), plain[0])
    for name, switches in VARIANTS.items():
        if "compile" in switches and bench.sizes is QUICK:
            continue
        good, report = bench.verdict(switches)
        if not good:
            rows.append(Row(STAGE, f"step, {name}", float("nan"), plain[0], "s", PEER, note=f"refused: {report}"))
            continue
        seconds, memory = bench.timed(switches, forever(batch))
        limit = f"{work / peak:.3g} s at the bf16 matmul peak of {peak / 1e12:.3g} TF/s: {work / peak / seconds:.0%}"
        target = 2.0 if switches else None
        rows.append(Row(STAGE, f"step, {name}", seconds, plain[0], "s", PEER, target, limit, report))
        rows.append(Row(STAGE, f"peak memory, {name}", memory, plain[1], "MiB", PEER))
        if seconds < best[1]:
            best = (switches, seconds)
    return rows, *best


def prepare_store(bench: Bench, folder: Path) -> tuple[Path, Path, dict[str, Any]]:
    """Write phantoms and prepare them into a store; return the data list, the store and the settings of the recipe."""
    full = bench.sizes is FULL
    shape = {"shape": (224, 192, 96), "spacing": (1.2, 1.2, 2.2)} if full else {}
    datalist = write_phantom(folder / "phantoms", num_cases=8, num_labelled=1, num_validation=0, num_test=0, **shape)
    sizes = bench.sizes
    settings = {
        "patch_size": list(sizes["size"]),
        "base_channels": sizes["channels"],
        "num_levels": sizes["levels"],
        "pairs_per_batch": sizes["pairs"],
        "num_voxels": sizes["voxels"],
        **bench.loading,
    }
    if not full:
        settings |= {"spacing": [6.0, 6.0, 9.0], "shuffle_blocks": 20}
    spacing = {key: value for key, value in settings.items() if key == "spacing"}
    prepare(datalist, ["ct"], folder / "store", overrides=spacing)
    return datalist, folder / "store", settings


def real_run(bench: Bench, output: Path, switches: tuple[str, ...]) -> tuple[list[float], float]:
    """Pretrain from a store; return the losses and the seconds of a step including loading."""
    with tempfile.TemporaryDirectory() as folder:
        datalist, store, settings = prepare_store(bench, Path(folder))
        pace = {"max_epochs": 1, "steps_per_epoch": bench.real_steps, "checkpoint_every": bench.real_steps}
        settings |= {**pace, "panel_every": bench.real_steps, **dict.fromkeys(switches, True)}
        settings["device"] = f"$torch.device('{bench.device}')"
        pretrain("kats", datalist, ["ct"], output / "run", overrides=settings, store=store)
    events = EventAccumulator(str(next((output / "run" / "tensorboard").glob("events*"))), {"scalars": 0}).Reload()
    name = next(tag for tag in events.Tags()["scalars"] if tag.endswith("loss"))
    found = events.Scalars(name)
    # The first quarter holds the start of the workers and the choice of kernels.
    settled = found[len(found) // 4 :]
    return [event.value for event in found], (settled[-1].wall_time - settled[0].wall_time) / (len(settled) - 1)


def write_loss(losses: list[float], output: Path) -> None:
    """Write the losses as a table and a plot."""
    with replacing(output / "loss.csv") as path, path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("step", "loss"), *enumerate(losses, start=1)])
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(6, 3), layout="constrained")
        axes = figure.subplots()
        axes.plot(range(1, len(losses) + 1), losses, linewidth=0.6)
        axes.set(xlabel="step", ylabel="loss", title="Pretraining on CT phantoms")
        with replacing(output / "loss.png") as path:
            figure.savefig(path, format="png", dpi=150)


def bench_all(output: Path, device: torch.device, full: bool) -> list[Row]:
    """Measure all rows, and write the output folder."""
    output.mkdir(parents=True, exist_ok=True)
    bench = Bench(device, full)
    rows, best, seconds = step_rows(bench, bench.matmul_peak())
    losses, loaded = real_run(bench, output, best)
    last = fmean(losses[-len(losses) // 20 or -1 :])
    note = f"{len(losses)} steps: loss {losses[0]:.3f} at first, {last:.3f} at last; loading and logging add " + (
        f"{loaded / seconds - 1:.1%}"
    )
    rows.append(Row(STAGE, f"real step, {' + '.join(best) or 'TF32'}", loaded, rows[0].peer, "s", PEER, None, "", note))
    write_loss(losses, output)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    with replacing(output / "cuda.md") as path:
        path.write_text(f"{name}; {machine()}\n\n{table(rows)}\n", encoding="utf-8")
    return rows


def measure(full: bool) -> list[Row]:
    """The rows of the GPU of this machine, or of its CPU at tiny sizes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        return bench_all(Path(folder), device, full and device.type == "cuda")


def main() -> None:
    """Measure into the output folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    chosen = parser.parse_args()
    print_rows(bench_all(chosen.output, torch.device(chosen.device), not chosen.quick))


if __name__ == "__main__":
    main()
