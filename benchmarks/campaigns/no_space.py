"""Run every command that writes on a disk without space, and say how it ends and what it leaves.

    python -m benchmarks.campaigns.no_space [--most 1000]

The disk is full by a limit on the size of files (RLIMIT_FSIZE): the first large write fails as on a full disk.
"""

import argparse
import tempfile
from pathlib import Path

from tests.killing_commands import write_inputs
from tests.writing_commands import MOST, WRITERS, on_a_full_disk


def main() -> None:
    """Print a row of the table for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=MOST, help="bytes of a file")
    parser.add_argument("--only", default="", help="commands whose name contains this")
    options = parser.parse_args()
    print("| Command | status | what it says | what it leaves |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_inputs(Path(folder))
        for name in WRITERS:
            if options.only in name:
                out = Path(folder) / name.replace(" ", "_")
                status, output, left = on_a_full_disk(name, inputs, out, options.most)
                said = [line for line in output.splitlines() if "Error" in line or "disk" in line]
                shown = " ".join(said[-1:]).replace(folder, "…")
                print(f"| {name} | {status} | {shown} | {', '.join(left[:8])} |", flush=True)


if __name__ == "__main__":
    main()
