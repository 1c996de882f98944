"""Kill a toy pretraining many times, restart it with the same command, and compare its result with an unbroken run.

``python benchmarks/kills.py --kills 100`` kills it 100 times in all, half of them with a separate loading process.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from medssl.phantom.dataset import write_phantom
from tests.killing import differences, last_checkpoint, pretraining_command, run_with_kills, subprocess_result
from tests.tiny import start

STEPS_PER_KILL = 12


def kill_and_compare(kills: int, num_workers: int, seed: int, folder: Path) -> str:
    """Kill a run several times, and compare; return a line that says so.

    Raises:
        RuntimeError: if it did not finish, or its result differs from the unbroken run.
    """
    datalist = write_phantom(
        folder / "data",
        num_cases=3,
        num_labelled=1,
        num_validation=0,
        num_test=0,
        shape=(40, 32, 20),
        spacing=(5.6, 5.9, 8.5),
    )
    steps = -(-kills * STEPS_PER_KILL // 5) * 5
    command = pretraining_command(datalist, steps, num_workers)
    status, errors = subprocess_result(start(*command, "--out", folder / "whole", cwd=folder))
    if status:
        raise RuntimeError(errors)
    begun = time.monotonic()
    counts = run_with_kills(command, folder / "broken", steps, kills, seed)
    seconds = time.monotonic() - begun
    for name in (Path("backbone.pt"), last_checkpoint(Path(), steps)):
        found = differences(folder / "whole" / name, folder / "broken" / name)
        if found:
            raise RuntimeError(f"{name} differs in {', '.join(found[:5])} after {dict(counts)}.")
    left = [str(path) for path in (folder / "broken").rglob(".*.????????.*")]
    if left:
        raise RuntimeError(f"Temporary files are left: {', '.join(left)}.")
    drawn = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f"{num_workers} workers, {steps} steps, {kills} kills ({drawn}): equal to the bit, {seconds:.0f} s"


def main() -> None:
    """Print a line for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    for num_workers, kills in ((0, options.kills - options.kills // 2), (1, options.kills // 2)):
        if kills:
            with tempfile.TemporaryDirectory() as folder:
                print(kill_and_compare(kills, num_workers, options.seed + num_workers, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
