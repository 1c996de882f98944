"""A few clicks give a mask: seconds a click, and Dice after 1, 3, 5 and 10 clicks.

    OMP_NUM_THREADS=2 python benchmarks/points.py [--choose]

Phantom CT of 128 x 128 x 64 voxels, 2.9 x 2.9 x 5 mm, and the weights `abdomen-ct`. A simulated person clicks first into the middle of
the structure, then each time into the middle of the largest connected error: inside where it is missing, outside where
there is too much. The features are computed before the first click is timed. ``--choose`` tries settings on phantoms
of another seed than the table's.
"""

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from measuring import machine
from scipy import ndimage

from medssl.packaging.loading import LoadedBundle, load_bundle
from medssl.phantom.anatomy import LABELS
from medssl.phantom.dataset import write_phantom
from medssl.probe.points import CHOSEN, Settings
from medssl.workflows.points import PointSegmenter

SHAPE, SPACING = (128, 128, 64), (2.9, 2.9, 5.0)
STRUCTURES = ("liver", "right kidney", "left kidney", "spleen")
SHOWN = (1, 3, 5, 10)
CANDIDATES = {"radius": (3.0, 4.5, 8.0), "l2": (1e-3, 1e-2, 1e-1), "weak_share": (0.1, 0.3, 0.6)}


def middle(region: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, int]:
    """The most central voxel of the largest connected part of a region, and the size of that part."""
    parts, _ = ndimage.label(region)
    sizes = np.bincount(parts.ravel())[1:]
    if not len(sizes):
        return np.zeros(3, dtype=int), 0
    # The border of the scan is an edge too.
    largest = np.pad(parts == sizes.argmax() + 1, 1)
    depth = ndimage.distance_transform_edt(largest, sampling=spacing)
    return np.array(np.unravel_index(depth.argmax(), depth.shape)) - 1, int(sizes.max())


def clicked(segmenter: PointSegmenter, scan: Path, truth: np.ndarray, affine: np.ndarray) -> tuple[list[float], list]:
    """The Dice after each of ten clicks of a simulated person, and the seconds that each answer took."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    sides: tuple[list, list] = [], []
    found, dice, seconds = np.zeros_like(truth), [], []
    for _ in range(max(SHOWN)):
        errors = [middle(truth & ~found, spacing), middle(found & ~truth, spacing)]
        side = int(errors[1][1] > errors[0][1])
        if errors[side][1]:
            sides[side].append(tuple(nib.affines.apply_affine(affine, errors[side][0])))
        begun = time.perf_counter()
        found = segmenter(scan, *sides)[0].numpy() > 0
        seconds.append(time.perf_counter() - begun)
        dice.append(float(2 * (found & truth).sum() / (found.sum() + truth.sum())))
    return dice, seconds


def on_scans(bundle: LoadedBundle, folder: Path, settings: list[Settings]) -> list[tuple[np.ndarray, list, list]]:
    """For each of the settings the Dice, shape ``(structures, scans, clicks)``, and seconds of features and of clicks."""
    names = {name: value for value, name in LABELS.items()}
    results = []
    for setting in settings:
        dice, features, seconds = [], [], []
        for scan in sorted((folder / "images").iterdir()):
            segmenter = segmenters.setdefault(scan, PointSegmenter(bundle))
            segmenter.settings = setting
        results.append((np.array(dice), features, seconds))
    return results


def main() -> None:
    """Print the table, or what was chosen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--scans", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counts = {"num_labelled": options.scans, "num_validation": 0, "num_test": 0}
        seed = 1 if options.choose else 0
        write_phantom(folder, options.scans, **counts, shape=SHAPE, spacing=SPACING, seed=seed)
        settings = [Settings(*values) for values in itertools.product(*CANDIDATES.values())] if options.choose else [CHOSEN]
        print(f"{machine()}, load {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    main()
