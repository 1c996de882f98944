"""The loop of `medssl pretrain kats` beside its bare steps: forward, backward and optimizer on one batch.

    python benchmarks/loop.py [SIZE ...]

The recipe trains on phantoms, with one worker; all handlers are on: gradient clipping, progress bar, TensorBoard,
checks. Then the same method takes bare steps on one of its batches. Both are timed in one process, by the user time of
that process and one thread. A worker's user time per batch, which the loop waits for only if it exceeds that of a step,
is measured on the same batches.
"""

import argparse
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ignite.engine import Events
from measuring import FOLDER, Row, in_fresh_process, print_rows
from monai.bundle import ConfigWorkflow

from medssl.files import write_json
from medssl.phantom.dataset import write_phantom
from medssl.workflows.recipes import find_recipe, merge

_TINY = {"patch_size": [32, 32, 16], "base_channels": 8, "num_levels": 3, "pairs_per_batch": 4}
_SMALL = {"patch_size": [64, 64, 24], "base_channels": 16, "num_levels": 4, "pairs_per_batch": 4}
# The network and patch of the paper, with one of its ten pairs, so that a step fits into a few GiB.
_PAPER = {"patch_size": [128, 128, 32], "base_channels": 32, "num_levels": 5, "pairs_per_batch": 1}
# Steps and settings.
SIZES = {
    "4 pairs of 32 x 32 x 16, 8 channels x 3 levels": (8, _TINY),
    "4 pairs of 64 x 64 x 24, 16 channels x 4 levels": (4, _SMALL),
    "1 pair of 128 x 128 x 32, 32 channels x 5 levels": (2, _PAPER),
    "4 pairs of 32 x 32 x 16, 8 channels x 3 levels, 128 voxels a pair": (30, {**_TINY, "num_voxels": 128}),
}
_UNTIMED_STEPS = 3


def user_seconds(call: Callable[[], Any], count: int) -> float:
    """User time of a call, in the mean over a number of calls."""
    begin = os.times().user
    for _ in range(count):
        call()
    return (os.times().user - begin) / count


def compare(size: str, folder: str) -> tuple[float, float, float]:
    """User seconds of a step in the loop, of a bare step, and of a batch."""
    num_steps, settings = SIZES[size]
    workflow = _workflow(Path(folder), {**settings, "steps_per_epoch": _UNTIMED_STEPS + num_steps})
    workflow.initialize()
    trainer, batches, method, optimizer = (
        workflow.parser.get_parsed_content(name)
        for name in ("train::trainer", "train::batches", "method", "train::optimizer")
    )
    times = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: times.append(os.times().user))
    workflow.run()
    loop = (times[-1] - times[_UNTIMED_STEPS - 1]) / num_steps
    batch = batches[0]

    def bare() -> None:
        optimizer.zero_grad()
        method(batch)["loss"].backward()
        optimizer.step()

    user_seconds(bare, 2)
    steps = iter(range(1, 100))
    return loop, user_seconds(bare, num_steps), user_seconds(lambda: batches[next(steps)], num_steps)


def _workflow(folder: Path, settings: dict[str, Any]) -> ConfigWorkflow:
    warnings.simplefilter("ignore")
    logging.disable()
    files = [find_recipe("pretrain/configs", "train"), find_recipe("pretrain/configs/methods", "kats")]
    places = {
        "datalist": str(write_phantom(folder / "scans", 4, num_labelled=0, num_validation=0, num_test=0)),
        "output_dir": str(folder / "run"),
    }
    config = merge([*files, find_recipe("data", "ct")], places, {"spacing": [2, 2, 3], "max_epochs": 1, **settings})
    write_json(folder / "config.json", config)
    meta_file = FOLDER.parent / "bundles" / "segmentation" / "configs" / "metadata.json"
    return ConfigWorkflow(str(folder / "config.json"), str(meta_file), logging_file=False, workflow_type="train")


def measure(sizes: list[str]) -> list[Row]:
    """One row per size."""
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            loop, bare, batch = in_fresh_process("loop", "compare", size, folder).result
        note = f"{loop / bare - 1:.1%} over the bare step; a batch takes a worker {batch:.3f} s"
        rows.append(Row("loop", f"user time of a step, {size}", loop, bare, "s", "the bare step", None, "", note))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", help="numbers of the sizes; default: all")
    chosen = parser.parse_args().sizes
    names = list(SIZES)
    print_rows(measure([names[int(number)] for number in chosen] or names))
