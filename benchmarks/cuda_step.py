"""The training step at full size on a GPU: 10 pairs of 128 x 128 x 32, 32 channels x 5 levels, 1,024 voxels per pair.

    python benchmarks/cuda_step.py OUTPUT [--quick] [--device cpu]

It compares plain float32 and TF32 of the same network with the switches, added one after another while their
gradients pass, and the plain restatement of the authors' step (`step.py`) with the same switches. CUDA events time 50
steps after 10 warm-up steps, with a batch that stays on the device. Then `medssl pretrain kats` runs from a volume
store, with its own workers: 400 steps as it is, and 1,000 `--with fast`. The output folder gets ``cuda.md``,
``loss.csv``, ``loss.png`` and the runs.
"""

import argparse
import csv
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
from step import PlainMethod, make_batch, make_method, operations
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
FAIR = ("amp", "channels_last")
FAIR_PEER = "plain restatement of the authors' step, bfloat16, channels last"


class Bench:
    """The measurements on one device.

    Args:
        device: a CUDA device, or the CPU to try the script.
        full: the paper's sizes; otherwise tiny ones.
    """

    def __init__(self, device: torch.device, full: bool) -> None:
        self.device = device
        self.sizes = FULL if full else QUICK
        self.warm_up, self.steps = (10, 50) if full else (1, 2)
        # Of the recipe as it is, and with the layers of a name.
        self.real_steps = {"": 400, "fast": 1000} if full else {"": 4, "fast": 4}
        # At full size the recipe chooses its workers.
        self.loading: dict[str, Any] = {} if full else {"num_workers": 0}

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

    def step_of(self, switches: tuple[str, ...], batches: Iterator[dict], plain: bool) -> Callable[[], torch.Tensor]:
        """A function that takes one training step on the next batch."""
        method = make_method(self.sizes["channels"], self.sizes["levels"]).to(self.device)
        network = Accelerated(PlainMethod(method) if plain else method, **dict.fromkeys(switches, True))
        optimizer = torch.optim.Adam(method.parameters(), lr=3e-4)

        def step() -> torch.Tensor:
            optimizer.zero_grad()
            loss = network(prepare_views(next(batches), self.device, True)[0])["loss"]
            loss.backward()
            nn.utils.clip_grad_norm_(method.parameters(), 1.0)
            optimizer.step()
            return loss

        return step

    def timed(self, switches: tuple[str, ...], batches: Iterator[dict], plain: bool = False) -> tuple[float, float]:
        """Seconds of a step, of medssl or of the plain restatement, and peak memory in MiB."""
        if self.device.type != "cuda":
            return self.seconds_of(self.step_of(switches, batches, plain)), peak_mib()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        seconds = self.seconds_of(self.step_of(switches, batches, plain))
        return seconds, torch.cuda.max_memory_allocated() / 2**20


def set_tf32(allowed: bool) -> None:
    """Allow or forbid TF32 in convolutions and matrix products."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def forever(batch: dict) -> Iterator[dict]:
    """Yield one batch forever."""
    while True:
        yield batch


def step_rows(bench: Bench, peak: float) -> tuple[list[Row], dict[tuple[str, ...], float]]:
    """The rows of all variants, and the seconds of each by its switches."""
    batch, work = bench.fixed_batch(), operations(bench.sizes)
    set_tf32(False)
    plain = bench.timed((), forever(batch))
    set_tf32(True)
    rows, seconds_of = [], {}
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
        seconds_of[switches] = seconds
        if switches == FAIR:
            fair = bench.timed(FAIR, forever(batch), plain=True)
            rows.append(Row(STAGE, f"step, {name}", seconds, fair[0], "s", FAIR_PEER))
            rows.append(Row(STAGE, f"peak memory, {name}", memory, fair[1], "MiB", FAIR_PEER))
    return rows, seconds_of


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


def real_rows(bench: Bench, output: Path, seconds_of: dict[tuple[str, ...], float], peer: float) -> list[Row]:
    """Pretrain from a store by the recipe as it is and `--with fast`; write the losses of the latter."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_store(bench, Path(folder))
        for layer, num_steps in bench.real_steps.items():
            run = output / f"run_{layer or 'default'}"
            losses, loaded = real_run(bench, run, [layer] if layer else [], num_steps, *prepared)
            # The recipe as it is has TF32 and no switches.
            bare = seconds_of.get(FAIR if layer else (), float("nan"))
            last = fmean(losses[-len(losses) // 20 or -1 :])
            note = f"{num_steps} steps: loss {losses[0]:.3f} at first, {last:.3f} at last; {loaded / bare - 1:.1%} over"
            name = f"real step, {f'--with {layer}' if layer else 'the recipe as it is'}"
            rows.append(Row(STAGE, name, loaded, peer, "s", PEER, None, "", f"{note} the step on a fixed batch"))
    write_loss(losses, output)
    return rows


def real_run(
    bench: Bench, run: Path, layers: list[str], num_steps: int, datalist: Path, store: Path, settings: dict[str, Any]
) -> tuple[list[float], float]:
    """Pretrain from a store; return the losses and the seconds of a step including loading."""
    pace = {"max_epochs": 1, "steps_per_epoch": num_steps, "checkpoint_every": num_steps, "panel_every": num_steps}
    settings = {**settings, **pace, "device": f"$torch.device('{bench.device}')"}
    pretrain("kats", datalist, ["ct"], run, layers=layers, overrides=settings, store=store)
    events = EventAccumulator(str(run / "tensorboard"), {"scalars": 0}).Reload()
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
    rows, seconds_of = step_rows(bench, bench.matmul_peak())
    rows += real_rows(bench, output, seconds_of, rows[0].peer)
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
