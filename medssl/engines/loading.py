"""How many processes load the data of a GPU."""

import os

# A batch of ten pairs takes a process 0.14 s (benchmarks/pairs.py) and a fast GPU an estimated 0.08 s: two would do.
_ENOUGH = 4


def num_workers_for_gpu() -> int:
    """The number of processes that load data for a GPU: one per core that is left, at least 1 and at most 4.

    The cores are those that this process may use, shared by the ranks of this machine; one is left to train.

    Example:
        >>> 1 <= num_workers_for_gpu() <= 4
        True
    """
    cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(cores - 1, _ENOUGH))
