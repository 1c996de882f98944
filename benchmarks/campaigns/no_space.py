"""Run every command that writes on a disk without space or without the right to write, and say how it ends.

    python -m benchmarks.campaigns.no_space [--most 1000] [--read-only]

The disk is full by a limit on the size of files (RLIMIT_FSIZE): the first large write fails as on a full disk. It is
read-only by the modes of its folders and files, which hold for root too where its capabilities are dropped.
"""

import argparse
import re
import tempfile
from pathlib import Path

from tests.killing_commands import write_inputs
from tests.writing_commands import MOST, WRITERS, on_a_full_disk, on_a_read_only_disk


def main() -> None:
    """Print a row of the table for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=MOST, help="bytes of a file")
    parser.add_argument("--read-only", action="store_true", help="a read-only disk instead of a full one")
    parser.add_argument("--only", default="", help="commands whose name contains this")
    options = parser.parse_args()
    print("| Command | status | what it says | what it leaves |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_inputs(Path(folder))
        for name in WRITERS:
            if options.only in name:
                out = Path(folder) / name.replace(" ", "_")
                if options.read_only:
                    status, output, left = on_a_read_only_disk(name, inputs, out)
                else:
                    status, output, left = on_a_full_disk(name, inputs, out, options.most)
                said = [line for line in output.splitlines() if re.search("Error|disk|denied", line)]
                shown = " ".join(said[-1:]).replace(folder, "…")
                print(f"| {name} | {status} | {shown} | {', '.join(left[:8])} |", flush=True)


if __name__ == "__main__":
    main()
