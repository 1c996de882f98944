"""A batch of 10 augmented pairs of patches with up to 1,024 shared voxels each, against the authors' algorithm.

    python benchmarks/pairs.py [--quick]

A prepared CT of 326 x 245 x 250 voxels, patches of 128 x 128 x 32. Ours: volume store, overlapping patches, the
augmentation of the Kats recipe, collated. The peer is a plain restatement of the algorithm of Kats et al. (2024): a
batch reads its volume from a compressed NIfTI, floods the air from the border, lists all voxels of the body, and maps
that list into both patches of every pair. Local shuffling is a loop over 5,000 blocks, and the intensity curve is
evaluated at 100,000 points. One thread, no worker processes; ours keeps freed memory, as a worker does.

About a third of the time of a batch was the first touch of memory that had just been returned to the system; workers
now keep it. Huge pages for tensors instead saved half of that, and on a machine short of free memory they cost more
than they saved (a large step: 6.1 s of system time instead of 3.6 s). Copying each sample into the batch while it is in
the cache saved 14 % without kept memory and nothing with it. What is left is copying: of the samples into the batch,
and of every patch by every transform.
"""

import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from crops import FULL, QUICK, THRESHOLD, open_store, write_scans
from measuring import Row, best_of, median_of, print_rows, user_time
from monai.bundle import ConfigParser
from scipy import ndimage

from medssl.data.sampling import StepBatches
from medssl.engines.workers import keep_freed_memory
from medssl.workflows.recipes import find_recipe, merge

STAGE = "pairs"
PAIRS, VOXELS = 10, 1024
# The second includes the time of the system, most of which gives memory to the process.
CLOCKS = {"user time": user_time, "processor time": time.process_time}
NUM_BLOCKS, CURVE_POINTS, MAX_BOXES, CONTINUE, MARGIN = 5000, 100_000, 30, 0.95, 3
Array = np.ndarray


def our_batches(folder: Path, cases: list[dict[str, str]], size: tuple[int, ...]) -> StepBatches:
    """The batches of the Kats recipe, from the store."""
    recipe = [("pretrain/configs", "train"), ("pretrain/configs/methods", "kats"), ("data", "ct")]
    settings = {"patch_size": list(size), "num_voxels": VOXELS, "shuffle_blocks": NUM_BLOCKS}
    config = merge([find_recipe(*file) for file in recipe], {}, settings)
    transform = ConfigParser(config).get_parsed_content("train::batches::transform")
    return StepBatches(open_store(folder, cases), transform, seed=0, batch_size=PAIRS)


def read_body(path: str) -> tuple[Array, Array]:
    """Plain restatement: read the volume, and list the voxels that are not air connected to the padded border."""
    image = nib.load(path).get_fdata().astype(np.float32)
    air = np.pad(image < THRESHOLD, 1, constant_values=True)
    components, _ = ndimage.label(air)
    body = (components != components[0, 0, 0])[1:-1, 1:-1, 1:-1]
    return image, np.argwhere(body)


def overlapping_boxes(shape: Array, body: Array, size: Array, random: np.random.RandomState) -> list[Array]:
    """Plain restatement: draw a body voxel, and two boxes in the volume that contain it."""
    anchor = body[random.randint(len(body))]
    low, high = np.maximum(anchor - size + 1, 0), np.minimum(anchor, shape - size)
    return [random.randint(low, high + 1) for _ in range(2)]


def shared_voxels(body: Array, starts: list[Array], size: Array, random: np.random.RandomState) -> list[Array]:
    """Plain restatement: map all body voxels into both patches, and draw from those inside both."""
    moved = [body - start for start in starts]
    inside = np.logical_and.reduce([((voxels >= 0) & (voxels < size)).all(axis=1) for voxels in moved])
    shared = np.flatnonzero(inside)
    chosen = random.permutation(len(shared))[:VOXELS]
    return [voxels[shared[chosen]] for voxels in moved]


def shuffle_blocks(image: Array, random: np.random.RandomState) -> Array:
    """Plain restatement: a loop over blocks, each permuted in the same way from the original into a copy."""
    size = np.maximum(np.array(image.shape) // 20, 1)
    order = random.permutation(size.prod())
    shuffled = image.copy()
    for _ in range(NUM_BLOCKS):
        start = [random.randint(n - b + 1) for n, b in zip(image.shape, size, strict=True)]
        box = tuple(slice(a, a + b) for a, b in zip(start, size, strict=True))
        shuffled[box] = image[box].ravel()[order].reshape(size)
    return shuffled


def bend_intensity(image: Array, random: np.random.RandomState) -> Array:
    """Plain restatement: a cubic Bezier curve at many points, its axes sorted, interpolated at every voxel."""
    controls = np.array([(0, 0), random.rand(2), random.rand(2), (1, 1)])
    t = np.linspace(0, 1, CURVE_POINTS)
    weights = np.stack([(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3])
    x, y = np.sort(controls.T @ weights, axis=1)
    return np.interp(image, x, y)


def inpaint(image: Array, random: np.random.RandomState) -> Array:
    """Plain restatement: boxes of noise, one after another, while a coin flip says so."""
    shape, painted = np.array(image.shape), image.copy()
    for _ in range(MAX_BOXES):
        if random.rand() >= CONTINUE:
            break
        size = random.randint(shape // 10, np.maximum(shape // 5, shape // 10 + 1))
        start = random.randint(np.minimum(MARGIN, (shape - size) // 2), shape - size - MARGIN + 1)
        painted[tuple(slice(a, a + b) for a, b in zip(start, size, strict=True))] = random.rand(*size)
    return painted


def augmented(image: Array, random: np.random.RandomState) -> Array:
    """Plain restatement: the three augmentations in their order, with their probabilities."""
    image = shuffle_blocks(image, random) if random.rand() < 0.8 else image
    image = bend_intensity(image, random) if random.rand() < 0.9 else image
    return inpaint(image, random).astype(np.float32)


def plain_batch(path: str, size: tuple[int, ...], random: np.random.RandomState) -> dict[str, list[Array]]:
    """Plain restatement: the batch of a step."""
    image, body = read_body(path)
    batch: dict[str, list[Array]] = {f"{name}_{i}": [] for name in ("view", "clean", "voxels") for i in (1, 2)}
    for _ in range(PAIRS):
        starts = overlapping_boxes(np.array(image.shape), body, np.array(size), random)
        voxels = shared_voxels(body, starts, np.array(size), random)
        for number, start in enumerate(starts, start=1):
            clean = image[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))]
            batch[f"view_{number}"].append(augmented(clean, random))
            batch[f"clean_{number}"].append(clean.copy())
            batch[f"voxels_{number}"].append(voxels[number - 1])
    return batch


def share_of_body(clean: list[Array], voxels: list[Array]) -> float:
    """Check that the rows of both lists are the same voxels; return the share of them that is not air."""
    sides = zip(clean, voxels, strict=True)
    values = [np.concatenate([p[tuple(v.T)] for p, v in zip(*side, strict=True)]) for side in sides]
    if not np.array_equal(*values):
        raise ValueError("Shared voxels differ between the two patches.")
    return float((values[0] >= THRESHOLD).mean())


def require_shared_voxels(batch: dict[str, torch.Tensor], plain: dict[str, list[Array]]) -> str:
    """Check that on both sides the shared voxels of pairs are the same; return how many there are, as text."""
    sides = (1, 2)
    ours = {i: batch[f"voxels_{i}"].numpy() for i in sides}
    clean = [[patch[0].numpy() for patch in batch[f"clean_{i}"]] for i in sides]
    voxels = [[ours[i][ours[i][:, 0] == b, 1:] for b in range(PAIRS)] for i in sides]
    parts = [
        share_of_body(clean, voxels),
        share_of_body([plain[f"clean_{i}"] for i in sides], [plain[f"voxels_{i}"] for i in sides]),
    ]
    if min(parts) < 0.99:
        raise ValueError(f"Only {parts} of the shared voxels are body.")
    counts = len(ours[1]), sum(map(len, plain["voxels_1"]))
    return f"shared voxels equal in both patches, {counts[0]} and {counts[1]} of them"


def measure(full: bool) -> list[Row]:
    """The rows of this stage."""
    torch.set_num_threads(1)
    shape, size = FULL if full else QUICK
    with tempfile.TemporaryDirectory() as name:
        cases = write_scans(Path(name), shape, 1)
        batches, random, steps = our_batches(Path(name), cases, size), np.random.RandomState(0), iter(range(1000))
        note = require_shared_voxels(batches[0], plain_batch(cases[0]["image"], size, random))
        peer = [best_of(lambda: plain_batch(cases[0]["image"], size, random), 2, clock) for clock in CLOCKS.values()]
        keep_freed_memory()
        ours = [median_of(lambda: batches[next(steps)], 20, clock) for clock in CLOCKS.values()]
    batch = torch.rand(4 * PAIRS, *size)
    copy = median_of(lambda: batch.clone())
    limit = f"copying the batch once: {copy:.3f} s; asked for: 0.15 s"
    target = 40 if full else None
    return [
        Row(STAGE, f"batch of {PAIRS} pairs, {clock}", *seconds, "s", "plain restatement", target, limit, note)
        for clock, *seconds in zip(CLOCKS, ours, peer, strict=True)
    ]


if __name__ == "__main__":
    print_rows(measure(full="--quick" not in sys.argv))
