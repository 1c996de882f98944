"""The effect of bfloat16 on the gradients and the time of a step, for every method's recipe with its own backbone.

    python benchmarks/bfloat16.py [--quick] [METHOD ...]

It measures what a run with `--with fast` measures before its first step (`medssl.speed.gate`), at random weights, on
two pairs of views of phantom slices: whether the run is allowed, and why. Then it times this check, and a step of
four pairs in float32 and with bfloat16 and channels-last, on two threads.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measuring import in_fresh_process, machine
from torch import Tensor, nn

PHANTOM = {"num_cases": 2, "num_labelled": 1, "num_validation": 0, "num_test": 0, "shape": (160, 160, 40)}
THREADS = 2
PAIRS = 4
STEPS = 3


def run(method: str, size: int) -> dict[str, Any]:
    """The verdict of the gate on one method, and the seconds."""
    from monai.bundle import ConfigParser

    from medssl.data.datalist import read_datalist
    from medssl.data.slices import cut_slices
    from medssl.engines.batches import prepare_views
    from medssl.phantom.dataset import write_phantom
    from medssl.speed.gate import computes_as_float32, first_samples
    from medssl.speed.switches import Accelerated
    from medssl.workflows.recipes import find_recipe, merge

    with tempfile.TemporaryDirectory() as folder:
        volumes = write_phantom(Path(folder) / "scans", **PHANTOM, spacing=(1.5, 1.5, 1.5), modality="MR")
        recipe = [
            find_recipe("pretrain/configs", "train"),
            find_recipe("pretrain/configs/methods", method),
            find_recipe("data", "mr_slices"),
        ]
        settings = {
            "datalist": str(cut_slices(read_datalist(volumes), Path(folder) / "slices")),
            "patch_size": [size, size],
            "pairs_per_batch": PAIRS,
            "volumes_per_batch": PAIRS,
        }
        parser = ConfigParser(merge(recipe, settings))
        whole = parser.get_parsed_content("train::batches")[0]
        network = Accelerated(parser.get_parsed_content("method"), amp=True, channels_last=True)
    batch, _ = prepare_views(first_samples(whole, 2), torch.device("cpu"), False)
    start = time.perf_counter()
    good, report = computes_as_float32(network, batch)
    gate = time.perf_counter() - start
    whole, _ = prepare_views(whole, torch.device("cpu"), False)
    steps = [seconds_of_step(step, whole) for step in (network.without(*network.switches), network)]
    return {"good": good, "report": report, "gate": gate, "steps": steps}


def seconds_of_step(network: nn.Module, batch: dict[str, Tensor]) -> float:
    """Seconds of the fastest of several passes, forward and backward."""
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        network(batch)["loss"].backward()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def line(method: str, size: int) -> str:
    """A row of the table."""
    found = in_fresh_process("bfloat16", "run", method, size, threads=THREADS).result
    plain, fast = found["steps"]
    verdict = f"{'yes' if found['good'] else 'NO'} | {found['report']}"
    return f"| {method} | {verdict} | {found['gate']:.2f} s | {plain:.2f} s | {plain / fast:.1f} |"


def main() -> None:
    """Print the table, each row as soon as it is measured."""
    from medssl.packaging.sources import source_bundles

    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    size = 64 if "--quick" in sys.argv else 128
    recipes = sorted((source_bundles() / "pretrain" / "configs" / "methods").glob("*.yaml"))
    print(machine(), "\n")
    print("| Method | Allowed | Gradients | Gate | Step in float32 | Times faster |")
    print("|---|---|---|---:|---:|---:|")
    for method in arguments or [recipe.stem for recipe in recipes]:
        print(line(method, size), flush=True)


if __name__ == "__main__":
    main()
