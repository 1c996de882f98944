"""How a process that loads data starts."""

import ctypes
import sys

from medssl.runs.stop import leave_signals_to_main

# Options of glibc's mallopt: the free memory that is kept, and the size from which memory is taken from the system.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 256 << 20


def start_worker(worker: int) -> None:
    """Make a process that loads data leave signals to the main one and keep freed memory, for ``worker_init_fn``.

    Args:
        worker: its number.
    """
    leave_signals_to_main(worker)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let this process use freed memory again, up to 256 MiB, instead of returning it to the system.

    A batch needs the same memory as the one before. To take it from the system anew costs a third of the time of a
    batch, since every page is filled with zeros first (benchmarks/pairs.py). Has an effect with glibc only.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(library, "mallopt"):
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            library.mallopt(option, _KEPT_BYTES)
