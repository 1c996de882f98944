"""What a person waits for between the stages: start-up, failing commands, and small preparations.

    python benchmarks/waits.py BEFORE

BEFORE is a working tree of the version to compare with, such as `git worktree add BEFORE v0.1.0`. The cost of a command
is the user time of all of its processes, the better of two runs, the two versions in turn. The scans are phantoms of
40 x 32 x 20 voxels.
"""

import argparse
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from measuring import Row, print_rows

from medssl.phantom.dataset import write_phantom

_PR_SET_CHILD_SUBREAPER = 36
_SMALL = {"shape": (40, 32, 20), "spacing": (5.6, 5.9, 8.5), "num_validation": 0, "num_test": 0, "num_labelled": 2}


def user_seconds(tree: Path, command: Sequence[str]) -> float:
    """User time of a command of the version in a working tree, with that of the processes it starts."""
    code = "from medssl.cli.app import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    # Elsewhere, since Python would take medssl from the working folder first.
    subprocess.run([sys.executable, "-c", code, *command], env=environment, cwd="/", capture_output=True)
    # The server of processes ends after the command, and is inherited by this process.
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def measure(before: Path) -> list[Row]:
    """The waits of the version before, and of this one."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    now = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lists = {count: str(write_phantom(folder / str(count), count, **_SMALL)) for count in (4, 5, 10)}
        commands = {
            "help": ["--help"],
            "weights list": ["weights", "list"],
            "pretrain, wrong path": ["pretrain", "kats", "--datalist", "gone", "--data", "ct", "--out", f"{name}/run"],
            "evaluate, wrong path": ["evaluate", "gone"],
            "datalist of 10 files": ["datalist", f"{name}/10/images", "--out", f"{name}/list.json"],
            "check of 5 cases": ["check", lists[5]],
            "prepare of 4 cases": ["prepare", lists[4], "--data", "ct", "--out", f"{name}/store"],
            "prepare of 4 cases, 2 processes": (
                ["prepare", lists[4], "--data", "ct", "--processes", "2", "--out", f"{name}/store"]
            ),
        }
        rows = []
        for quantity, command in commands.items():
            seconds = {now: [], before: []}
            for repeat in range(2):
                for tree in seconds:
                    # A store of its own each time, or the cases would be kept.
                    own = [f"{part}_{repeat}_{tree == now}" if part.endswith("/store") else part for part in command]
                    seconds[tree].append(user_seconds(tree, own))
            rows.append(Row("waits", quantity, min(seconds[now]), min(seconds[before]), "s", "the version before"))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="working tree of the version before")
    print_rows(measure(parser.parse_args().before.resolve()))
