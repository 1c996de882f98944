"""How well altered copies of scans are told from scans of other patients, and what that costs `medssl check`.

    python -m benchmarks.near_duplicates --hippocampus FOLDER --btcv FOLDER --chaos FOLDER

Each folder holds a folder images and a folder labels of NIfTI files, one per patient. The threshold was looked for on
half of the patients (drawn with --seed), and is reported on the others. Prints Markdown.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from medssl.data import checking
from medssl.data.datalist import Datalist, write_datalist
from medssl.data.near_duplicates import NearDuplicates
from medssl.scans.fingerprint import LIKENESS, cell_size, fingerprint, likeness, middle_of
from medssl.scans.headers import read_header
from medssl.scans.readers import read_volume

Scan = tuple[np.ndarray, np.ndarray]
ALTERATIONS = ("noise", "offset", "factor", "crop", "another grid", "crop, noise, factor")


def altered(scan: Scan, what: str, random: np.random.Generator) -> Scan:
    """A copy of a scan with noise, other intensities, up to a tenth cut off at each side, or other voxels."""
    voxels, affine = scan[0].astype(np.float32), scan[1].copy()
    deviation = float(voxels.std())
    if "crop" in what:
        cuts = random.uniform(0, 0.1, (3, 2)) * np.array(voxels.shape)[:, None]
        voxels = voxels[tuple(slice(round(a), n - round(b)) for n, (a, b) in zip(voxels.shape, cuts, strict=True))]
        # A cropped copy need not say where it was cut: its place in space stays that of the whole scan.
    if "factor" in what:
        voxels = voxels * random.uniform(0.8, 1.25)
    if "offset" in what:
        voxels = voxels + random.uniform(-0.2, 0.2) * deviation
    if "noise" in what:
        voxels = voxels + random.normal(0, 0.05 * deviation, voxels.shape)
    if "grid" in what:
        sizes = voxels.shape
        voxels = ndimage.zoom(voxels, random.uniform(0.7, 1.4, 3), order=1, mode="nearest", grid_mode=True)
        affine[:3, :3] *= np.array(sizes) / voxels.shape
    return voxels, affine


def read(path: Path) -> Scan:
    """Voxels and affine of a scan."""
    return read_volume(path), read_header(path).affine


def figures(
    scans: Sequence[Scan], copies: int, random: np.random.Generator
) -> tuple[dict[str, list[float]], list[float]]:
    """Likeness of altered copies to their originals, by alteration, and of all pairs of different scans."""
    cell = cell_size(scans[0][0].shape, scans[0][1])
    prints = [fingerprint(*scan, cell) for scan in scans]
    middles = np.array([middle_of(found) for found in prints])
    of_copies: dict[str, list[float]] = {what: [] for what in ALTERATIONS}
    for number in range(copies):
        what = ALTERATIONS[number % len(ALTERATIONS)]
        place = int(random.integers(len(scans)))
        copy = fingerprint(*altered(scans[place], what, random), cell)
        of_copies[what].append(float(likeness(copy, middles[place][None])[0]))
    alike = np.array([likeness(found, middles) for found in prints])
    return of_copies, [float(alike[i, j]) for i in range(len(scans)) for j in range(len(scans)) if i != j]


def seconds(paths: Sequence[Path], rounds: int) -> tuple[float, float]:
    """CPU seconds of a check of a list with a fifth of the scans held out, without and with likeness; least of some."""
    labels = [path.parent.parent / "labels" / path.name for path in paths]
    entries = [
        {"case": path.name.split(".")[0], "image": str(path), "label": str(label)}
        for path, label in zip(paths, labels, strict=True)
    ]
    held_out = len(entries) // 5
    sections = {"training": tuple(entries[held_out:]), "test": tuple(entries[:held_out])}
    found: dict[type, list[float]] = {Nothing: [], NearDuplicates: []}
    with tempfile.TemporaryDirectory() as folder:
        datalist = Datalist("scans", "MR", {0: "background", 1: "one"}, sections)
        path = write_datalist(datalist, Path(folder) / "list.json")
        # In turns, so that what else the machine does slows both.
        for kind in (*found, *(tuple(found) * rounds)):
            checking.NearDuplicates = kind
            begin = time.process_time()
            checking.check_datalist(path)
            found[kind].append(time.process_time() - begin)
    checking.NearDuplicates = NearDuplicates
    # The first of each warms up.
    without, with_likeness = (min(times[1:]) for times in found.values())
    return without, with_likeness


class Nothing(NearDuplicates):
    """Looks for no copies."""

    def add(self, *rest: object) -> None:
        """Take nothing."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("hippocampus", "btcv", "chaos"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=200, help="Altered copies per set and half.")
    parser.add_argument("--rounds", type=int, default=9, help="Checks of which the fastest counts.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"| scans | patients | copies found at {LIKENESS} | least alike copy | pairs accused | most alike pair |")
    print("|---|---|---|---|---|---|")
    kinds: dict[str, list[float]] = {what: [] for what in ALTERATIONS}
    costs = []
    for name in ("hippocampus", "btcv", "chaos"):
        random = np.random.default_rng(options.seed)
        paths = sorted((getattr(options, name) / "images").glob("*.nii.gz"))
        order = random.permutation(len(paths))
        for half, places in (("to choose", order[: len(paths) // 2]), ("to report", order[len(paths) // 2 :])):
            copies, others = figures([read(paths[place]) for place in places], options.copies, random)
            values = np.concatenate([np.array(found) for found in copies.values()])
            found, accused = np.mean(values >= LIKENESS), np.mean(np.array(others) >= LIKENESS)
            print(
                f"| {name}, {half} | {len(places)} | {found:.1%} of {len(values)} | {values.min():.3f} "
                f"| {accused:.2%} of {len(others)} | {max(others):.3f} |"
            )
            for what, alike in copies.items():
                kinds[what] += alike if half == "to report" else []
        costs.append((name, *seconds(paths, options.rounds)))
    print("\n| altered by | found | least alike |\n|---|---|---|")
    for what, alike in kinds.items():
        print(f"| {what} | {np.mean(np.array(alike) >= LIKENESS):.1%} | {min(alike):.3f} |")
    print("\n| scans | CPU s of `medssl check` without | with | more |\n|---|---|---|---|")
    for name, without, with_likeness in costs:
        print(f"| {name} | {without:.2f} | {with_likeness:.2f} | {with_likeness / without - 1:+.0%} |")


if __name__ == "__main__":
    main()
