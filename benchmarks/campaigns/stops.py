"""Stop every command that writes by Ctrl-C and SIGTERM at drawn moments, and say how it answers and ends.

    python -m benchmarks.campaigns.stops [--seed 0] [--only NAME] [--signals 4]

Moments are drawn from the length of an unbroken call. Every second signal is a SIGINT to all processes of the command,
as a terminal sends it; the others are a SIGTERM to the command alone. It must answer, end with 130 or 143 and without a
traceback, and leave neither a temporary file nor a process.
"""

import argparse
import random
import signal
import tempfile
import time
from pathlib import Path

from tests.forked import Forked
from tests.killing_commands import Inputs, write_inputs
from tests.stopping_commands import faults, stopped
from tests.writing_commands import WRITERS


def main() -> None:
    """Print a row of the table for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="commands whose name contains this")
    parser.add_argument("--signals", type=int, default=4, help="to each command")
    options = parser.parse_args()
    print("| Command | length | signals | ended before | slowest answer | slowest end | faults |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_inputs(Path(folder))
        for name in WRITERS:
            if options.only in name:
                place = Path(folder) / name.replace(" ", "_")
                place.mkdir()
                _print_row(name, inputs, place, options.signals, random.Random(options.seed))


def _print_row(name: str, inputs: Inputs, place: Path, signals: int, rng: random.Random) -> None:
    words = WRITERS[name](inputs, place / "whole")
    begun = time.monotonic()
    whole = Forked(words, place / "whole.log", place)
    if whole.wait():
        raise RuntimeError(whole.output())
    length = time.monotonic() - begun
    early, found, answers, ends = 0, [], [0.0], [0.0]
    for count in range(signals):
        out, number = place / f"out_{count}", (signal.SIGINT, signal.SIGTERM)[count % 2]
        words = WRITERS[name](inputs, out)
        moment = rng.uniform(0.05, length)
        done = stopped(words, None, place / f"{count}.log", number, moment, to_group=count % 2 == 0)
        early += done.status == 0
        if done.status:
            answers.append(done.answered)
            ends.append(done.ended)
            found += [f"{name}, {number.name} after {moment:.2f} s: {fault}" for fault in faults(done, number, out)]
            found += [done.output[-1500:]] * bool(faults(done, number, out))
    row = f"{length:.1f} s | {signals} | {early} | {max(answers):.2f} s | {max(ends):.1f} s | {len(found) // 2}"
    print(f"| {name} | {row} |", *found, sep="\n", flush=True)


if __name__ == "__main__":
    main()
