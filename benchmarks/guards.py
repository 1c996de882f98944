"""What the checks of voxels, headers, copies and memory cost `medssl check`, `prepare` and training, in user time.

    python -m benchmarks.guards --former CHECKOUT FOLDER [FOLDER ...]

Each FOLDER holds a folder images and a folder labels of NIfTI files; a fifth of the scans are held out. CHECKOUT is a
checkout of a version of medssl before these checks (2b9da38). `check` runs in both versions in turns, each time in a
new process that has run it once before; `prepare` and a pretraining run in this version, with and without the look at
every voxel, in turns in one process. The least of the rounds counts. Prints Markdown.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from medssl.data.datalist import Datalist, write_datalist
from medssl.scans.loading import VerifiedLoadImage
from medssl.workflows.preparing import prepare
from medssl.workflows.training import pretrain

ROOT = Path(__file__).resolve().parents[1]
_CHECK = """
import os, sys
from medssl.data.checking import check_datalist
check_datalist(sys.argv[1])
begin = os.times().user
check_datalist(sys.argv[1])
print(os.times().user - begin)
"""
_TINY = {"patch_size": [16, 32, 16], "base_channels": 8, "num_levels": 3, "pairs_per_batch": 2, "num_voxels": 64}
_PACE = {"max_epochs": 1, "num_workers": 0, "shuffle_blocks": 20, "panel_every": 1000, "checkpoint_every": 1000}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--former", type=Path, required=True)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scans", type=int, default=40, help="Most scans for prepare and pretraining.")
    parser.add_argument("--steps", type=int, default=20, help="Of a pretraining.")
    options = parser.parse_args()
    print("| scans | what | without | with | ratio |\n|---|---|---|---|---|")
    for folder in options.folders:
        with tempfile.TemporaryDirectory() as name:
            measure(folder, Path(name), options)


def measure(folder: Path, out: Path, options: argparse.Namespace) -> None:
    """Print the rows of the scans in a folder."""
    check, some = (write_list(folder, out, most) for most in (None, options.scans))

    def train() -> float:
        return trained(some, options.steps)

    def store() -> float:
        return prepared(some)

    rounds = options.rounds
    row(folder, "check", rounds, lambda: checked(check, options.former), lambda: checked(check, ROOT))
    row(folder, "prepare", rounds, lambda: without_looking(store), store)
    row(folder, f"pretraining of {options.steps} steps", rounds, lambda: without_looking(train), train)


def row(folder: Path, what: str, rounds: int, *variants: Callable[[], float]) -> None:
    """Print the least user seconds of two variants, which run in turns, and their ratio."""
    times = [[variant() for variant in variants] for _ in range(rounds)]
    without, with_checks = map(min, zip(*times, strict=True))
    ratio = with_checks / without
    print(f"| {folder.name} | {what} | {without:.2f} s | {with_checks:.2f} s | {ratio:.3f} |", flush=True)


def write_list(folder: Path, out: Path, most: int | None) -> Path:
    """Write a data list of scans, a fifth of them held out and the others for pretraining too."""
    paths = sorted((folder / "images").glob("*.nii.gz"))[:most]
    entries = [
        {"case": path.name.split(".")[0], "image": str(path), "label": str(folder / "labels" / path.name)}
        for path in paths
    ]
    held_out = len(entries) // 5
    sections = {"training": tuple(entries[held_out:]), "test": tuple(entries[:held_out])}
    path = out / f"{folder.name}_{most}.json"
    return write_datalist(Datalist("scans", "MR", {0: "background", 1: "one"}, sections), path)


def checked(datalist: Path, tree: Path) -> float:
    """User seconds of a check by the version of medssl in a folder."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree)}
    command = [sys.executable, "-c", _CHECK, str(datalist)]
    return float(subprocess.check_output(command, cwd=tree, env=environment, text=True))


def prepared(datalist: Path) -> float:
    """User seconds of preparing the scans in this process."""
    return timed(lambda out: prepare(datalist, ["mr"], out, num_processes=1))


def trained(datalist: Path, steps: int) -> float:
    """User seconds of a short pretraining, with the reading of its scans."""
    settings = {**_TINY, **_PACE, "steps_per_epoch": steps}
    return timed(lambda out: pretrain("kats", datalist, ["mr"], out, overrides=settings))


def timed(run: Callable[[Path], object]) -> float:
    """User seconds of what writes a folder, without its output."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        begin = os.times().user
        run(Path(folder) / "out")
        return os.times().user - begin


def without_looking(run: Callable[[], float]) -> float:
    """The seconds of a run whose loader takes every voxel as it is."""
    judged = VerifiedLoadImage._judged
    VerifiedLoadImage._judged = lambda self, volume, filename: volume  # type: ignore[method-assign]
    try:
        return run()
    finally:
        VerifiedLoadImage._judged = judged  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
