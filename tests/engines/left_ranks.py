"""Which threads two ranks still have after they have trained, for `tests/runs/test_ranks`."""

import atexit
import os
import sys
from pathlib import Path

from medssl.engines.data_parallel import data_parallel
from medssl.runs.ranks import join_ranks, joined_ranks, num_ranks, rank
from tests.engines.two_ranks import batches_of, method_of, train


def train_some_steps():
    """Train, and leave a trainer behind that holds itself, as those of Ignite do."""
    method = method_of("kats")
    network = data_parallel(method)
    network.trainer = [network]
    train(method, network, batches_of(rank(), num_ranks()))


def write_threads(file):
    """Write the names of the threads of this process, one a line."""
    tasks = Path("/proc/self/task")
    file.write_text("\n".join((tasks / task / "comm").read_text().strip() for task in os.listdir(tasks)))


def main(out, way):
    """Leave the ranks at the end of a block, or at that of the program."""
    file = Path(out) / f"rank_{rank()}.txt"
    if way == "block":
        joined_ranks()(train_some_steps)()
        write_threads(file)
    else:
        # What is registered first runs last.
        atexit.register(write_threads, file)
        join_ranks()
        train_some_steps()


if __name__ == "__main__":
    main(*sys.argv[1:])
