"""Kill every long command many times, start it again with the same words, and compare with an unbroken run.

    python -m benchmarks.campaigns.kills [--seed 0] [--only NAME] [--times 1.0]

Half of the kills come at a moment drawn from the length of the unbroken run, half when the command has just made the
n-th temporary file in its folder, n drawn. They end the command alone (SIGKILL), not the processes that load data for
it; under ``torchrun``, the launcher and all ranks. A command that ends before it is killed starts a new folder; every
folder that ends is compared.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.killing_commands import COMMANDS, Campaign, write_inputs


def main() -> None:
    """Print a row of the table for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="commands whose name contains this")
    parser.add_argument("--times", type=float, default=1.0, help="share of the kills")
    options = parser.parse_args()
    print("| Command | kills | while it wrote | folders compared | differences | seconds |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_inputs(Path(folder))
        for name, command in COMMANDS.items():
            if options.only not in name:
                continue
            begun = time.monotonic()
            campaign = Campaign(command, inputs, Path(folder) / name.replace(" ", "_"), random.Random(options.seed))
            campaign.run(round(command.kills * options.times) or 1)
            row = (name, campaign.kills, campaign.while_writing, campaign.compared, len(campaign.differences))
            print(f"| {' | '.join(map(str, row))} | {time.monotonic() - begun:.0f} |", flush=True)
            for line in campaign.differences:
                print(f"{name}: {line}", flush=True)


if __name__ == "__main__":
    main()
