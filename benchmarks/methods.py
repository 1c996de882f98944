"""One training step of every method's recipe, at one size and with one backbone: 2D 256 x 256 and 3D 96 x 96 x 96.

    python benchmarks/methods.py [--quick] [METHOD ...]

Every method runs as in its recipe, with its heads and augmentations, except for three things that must be equal: the
backbone (the feature pyramid of Kats et al. with 8 channels and 4 levels), the size of a patch or crop, and the batch
(4 pairs in 2D, 2 in 3D). Making the batch and computing the step (forward, backward, optimizer) are timed separately,
since workers make batches while the network computes. A sample is a pair of views. Each row has its own process with
two threads; peak memory is that of the process, about 500 MiB of it imports.
"""

import sys
import tempfile
import time
from pathlib import Path

from measuring import in_fresh_process, machine

THREADS = 2
SIZES = {2: ([256, 256], 4), 3: ([96, 96, 96], 2)}
QUICK_SIZES = {2: ([64, 64], 4), 3: ([32, 32, 32], 2)}
PHANTOM = {"num_cases": 2, "num_labelled": 1, "num_validation": 0, "num_test": 0}
NETWORK = {"base_channels": 8, "num_levels": 4}
STEPS = 3


def run(method: str, spatial_dims: int, size: list[int], batch_size: int) -> dict[str, float]:
    """The seconds of making a batch and of a step, each the fastest of several."""
    from monai.bundle import ConfigParser

    from medssl.data.datalist import read_datalist
    from medssl.data.slices import cut_slices
    from medssl.phantom.dataset import write_phantom
    from medssl.workflows.recipes import find_recipe, merge

    with tempfile.TemporaryDirectory() as folder:
        shape = [max(side * 5 // 4, 40) for side in size] + [40] * (3 - spatial_dims)
        datalist = write_phantom(Path(folder) / "scans", **PHANTOM, shape=shape, spacing=(1.5, 1.5, 1.5), modality="MR")
        data = ["mr"]
        if spatial_dims == 2:
            datalist, data = cut_slices(read_datalist(datalist), Path(folder) / "slices"), ["mr_slices"]
        recipe = [
            find_recipe("pretrain/configs", "train"),
            find_recipe("pretrain/configs/methods", method),
            find_recipe("networks", "fpn"),
            *(find_recipe("data", name) for name in data),
        ]
        settings = {
            **NETWORK,
            "datalist": str(datalist),
            "patch_size": size,
            "spacing": [1.5] * spatial_dims,
            "pairs_per_batch": batch_size,
            "volumes_per_batch": 2,
            "max_epochs": 1,
            "steps_per_epoch": STEPS,
        }
        parser = ConfigParser(merge(recipe, settings))
        batches = parser.get_parsed_content("train::batches")
        network = parser.get_parsed_content("method").train()
        optimizer = parser.get_parsed_content("train::optimizer")
        seconds = {"batch": [], "step": []}
        for step in range(STEPS):
            start = time.perf_counter()
            batch = batches[step]
            made = time.perf_counter()
            optimizer.zero_grad()
            network(batch)["loss"].backward()
            optimizer.step()
            if hasattr(network, "after_step"):
                network.after_step(step / STEPS)
            seconds["batch"].append(made - start)
            seconds["step"].append(time.perf_counter() - made)
    return {name: min(values) for name, values in seconds.items()}


def line(method: str, spatial_dims: int, size: list[int], batch_size: int) -> str:
    """A row of the table."""
    measured = in_fresh_process("methods", "run", method, spatial_dims, size, batch_size, threads=THREADS)
    step, batch = measured.result["step"], measured.result["batch"]
    shape = " × ".join(map(str, size))
    numbers = f"{batch_size / step:.2f} | {batch_size / batch:.1f} | {measured.extra_mib:.0f} MiB"
    return f"| {method} | {shape} | {batch_size} | {numbers} |"


def main() -> None:
    """Print the table, each row as soon as it is measured."""
    from medssl.packaging.sources import source_bundles

    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    sizes = QUICK_SIZES if "--quick" in sys.argv else SIZES
    recipes = sorted((source_bundles() / "pretrain" / "configs" / "methods").glob("*.yaml"))
    print(machine(), "\n")
    print("| Method | Size | Batch | Step, samples/s | Batch making, samples/s | Peak memory |")
    print("|---|---|---:|---:|---:|---:|")
    for spatial_dims, (size, batch_size) in sizes.items():
        for method in arguments or [recipe.stem for recipe in recipes]:
            print(line(method, spatial_dims, size, batch_size), flush=True)


if __name__ == "__main__":
    main()
