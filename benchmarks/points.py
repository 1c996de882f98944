"""A few points give a mask: seconds a click, and Dice after 1, 3, 5 and 10 clicks.

    OMP_NUM_THREADS=2 python benchmarks/points.py [--choose]

Phantom CT of 128 x 128 x 64 voxels of 2.9 x 2.9 x 5 mm, and the weights ``abdomen-ct``. A simulated person clicks first
into the middle of the structure, then each time into the middle of the largest connected error: inside where something
is missing, outside where there is too much. The first click also computes the features. ``--choose`` tries settings on
a phantom of another seed than the table's.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from measuring import machine
from scipy import ndimage

from medssl.packaging.loading import load_bundle
from medssl.phantom.anatomy import LABELS
from medssl.phantom.dataset import write_phantom
from medssl.probe.points import CHOSEN
from medssl.workflows.points import PointSegmenter

SHAPE, SPACING = (128, 128, 64), (2.9, 2.9, 5.0)
STRUCTURES = ("liver", "right kidney", "left kidney", "spleen")
SHOWN = (1, 3, 5, 10)
# Around what was chosen, one setting at a time.
CANDIDATES = [
    CHOSEN,
    *(CHOSEN._replace(nearness=logit) for logit in (0.0, 3.0)),
    *(CHOSEN._replace(l2=l2) for l2 in (1e-3, 1e-1)),
    *(CHOSEN._replace(reach=reach) for reach in (15.0, 35.0)),
    *(CHOSEN._replace(radius=radius) for radius in (3.0, 8.0)),
]


def middle(region: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, int]:
    """The most central voxel of the largest connected part of a region, and the size of that part."""
    parts, _ = ndimage.label(region)
    sizes = np.bincount(parts.ravel())[1:]
    if not len(sizes):
        return np.zeros(3, dtype=int), 0
    largest = int(sizes.argmax()) + 1
    box = ndimage.find_objects(parts)[largest - 1]
    # The border of the scan is an edge too.
    depth = ndimage.distance_transform_edt(np.pad(parts[box] == largest, 1), sampling=spacing)
    inside = np.unravel_index(depth.argmax(), depth.shape)
    return np.array([part.start for part in box]) + inside - 1, int(sizes.max())


class Clicked(NamedTuple):
    """The Dice after each click, and the seconds that each answer took: on the clock, and of the processor."""

    dice: list[float]
    seconds: list[tuple[float, float]]


def clicked(segmenter: PointSegmenter, scan: Path, truth: np.ndarray, affine: np.ndarray) -> Clicked:
    """Let a simulated person click ten times."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    sides: tuple[list, list] = [], []
    found, dice, seconds = np.zeros_like(truth), [], []
    for _ in range(max(SHOWN)):
        errors = [middle(truth & ~found, spacing), middle(found & ~truth, spacing)]
        side = int(errors[1][1] > errors[0][1])
        if errors[side][1]:
            sides[side].append(tuple(nib.affines.apply_affine(affine, errors[side][0])))
        begun, worked = time.perf_counter(), time.process_time()
        found = segmenter(scan, *sides)[0].numpy() > 0
        seconds.append((time.perf_counter() - begun, time.process_time() - worked))
        dice.append(float(2 * (found & truth).sum() / (found.sum() + truth.sum())))
    return Clicked(dice, seconds)


def phantoms(folder: Path, count: int, seed: int) -> list[tuple[Path, np.ndarray, np.ndarray]]:
    """Write phantoms, and return the file of each with its label map and affine."""
    counts = {"num_labelled": count, "num_validation": 0, "num_test": 0}
    write_phantom(folder, count, **counts, shape=SHAPE, spacing=SPACING, seed=seed)
    labels = map(nib.load, sorted((folder / "labels").iterdir()))
    scans = sorted((folder / "images").iterdir())
    return [(scan, np.asarray(label.dataobj), label.affine) for scan, label in zip(scans, labels, strict=True)]


def show(clicks: list[Clicked], name: str) -> None:
    """Print a row of the table: Dice after some clicks, mean over scans."""
    dice = np.array([each.dice for each in clicks]).mean(axis=0)
    print(f"| {name} | {' | '.join(f'{dice[number - 1]:.2f}' for number in SHOWN)} |", flush=True)


def main() -> None:
    """Print the table, or one of each candidate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--scans", type=int, default=2)
    options = parser.parse_args()
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}\n")
    values = {name: value for value, name in LABELS.items()}
    seconds = []
    with tempfile.TemporaryDirectory() as name:
        scans = phantoms(Path(name) / "phantoms", options.scans, seed=int(options.choose))
        segmenters = [PointSegmenter(load_bundle("abdomen-ct")) for _ in scans]
        for settings in CANDIDATES if options.choose else [CHOSEN]:
            print(f"{settings}\n\n| Clicks | {' | '.join(map(str, SHOWN))} |\n|---|{'---:|' * len(SHOWN)}")
            for structure in STRUCTURES:
                clicks = []
                for segmenter, (scan, label, affine) in zip(segmenters, scans, strict=True):
                    segmenter.settings = settings
                    clicks.append(clicked(segmenter, scan, label == values[structure], affine))
                    seconds.append(clicks[-1].seconds)
                show(clicks, structure)
            print()
    first = np.mean([each[0] for each in seconds[: options.scans]], axis=0)
    later = np.concatenate([each[1:] for each in seconds])
    print("| | Clock | Processor |\n|---|---:|---:|")
    for name, (clock, processor) in {
        "first click in a scan, with its features": first,
        f"further click, median of {len(later)}": np.median(later, axis=0),
        "further click, slowest": later.max(axis=0),
    }.items():
        print(f"| {name} | {clock:.2f} s | {processor:.2f} s |")


if __name__ == "__main__":
    main()
