"""Batches of synthetic volumes against batches from the volume store, of 10 pairs of patches of 64 x 64 x 64.

    python benchmarks/synthetic.py [--quick]

Ours: `--data synthetic`, each batch from a new volume of 96 x 96 x 96 voxels in two contrasts. The peer: the same
recipe from a volume store, of a prepared CT of 326 x 245 x 250 voxels. Both cut 10 pairs with up to 1,024 shared voxels
each and augment them as the recipe of Kats does. Warm page cache, one thread, no worker processes; the two take turns.
The eight patients whose cut-outs some volumes show are drawn before, in about a second each.

The target, as many pairs as the store gives, is out of reach: what follows the volume is the same for both, so a volume
would have to cost nothing. It takes about as long as all that is done to 10 pairs of a stored one: by the profile a
fifth goes into products with spline bases and blurs, a fifth into the distances of solids, and the rest is spread over
operations on all voxels of at most 7 % each. Several workers share the work, as batches do not depend on their number.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from crops import FULL, QUICK, open_store, write_scans
from measuring import Row, print_rows
from monai.bundle import ConfigParser

from medssl.data.sampling import StepBatches
from medssl.workflows.recipes import find_recipe, merge

STAGE = "synthetic"
PAIRS, VOXELS = 10, 1024


def recipe_of(data: str, size: list[int]) -> ConfigParser:
    """The recipe of Kats with a data recipe and patches of a size."""
    files = [("pretrain/configs", "train"), ("pretrain/configs/methods", "kats"), ("data", data)]
    settings = {"patch_size": size, "num_voxels": VOXELS, "shuffle_blocks": 3300, "pairs_per_batch": PAIRS}
    return ConfigParser(merge([find_recipe(*file) for file in files], {}, settings))


def stored_batches(folder: Path, shape: tuple[int, ...], size: list[int]) -> StepBatches:
    """The batches of the recipe from a store."""
    transform = recipe_of("ct", size).get_parsed_content("train::batches::transform")
    return StepBatches(open_store(folder, write_scans(folder, shape, 1)), transform, seed=0, batch_size=PAIRS)


def medians_of(sources: dict[str, StepBatches], steps: int) -> dict[str, float]:
    """Median seconds of a batch of each source; sources take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    for step in range(steps):
        for name, batches in sources.items():
            start = time.perf_counter()
            batches[step]
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def measure(full: bool) -> list[Row]:
    """The rows of this stage."""
    torch.set_num_threads(1)
    size = [64, 64, 64] if full else [24, 24, 24]
    synthetic = recipe_of("synthetic", size).get_parsed_content("train::batches")
    with tempfile.TemporaryDirectory() as name:
        stored = stored_batches(Path(name), (FULL if full else QUICK)[0], size)
        # Draws the patients.
        for step in range(40):
            synthetic.volumes[step]
        found = medians_of({"synthetic": synthetic, "store": stored}, 30)
        volumes = medians_of({"volume": synthetic.volumes}, 30)["volume"]
    rates = ", ".join(f"{name}: {PAIRS / seconds:.0f} pairs a second" for name, seconds in found.items())
    limit = f"making the volume alone: {volumes:.3f} s"
    target = 1 if full else None
    return [Row(STAGE, f"batch of {PAIRS} pairs", *found.values(), "s", "volume store", target, limit, rates)]


if __name__ == "__main__":
    print_rows(measure(full="--quick" not in sys.argv))
