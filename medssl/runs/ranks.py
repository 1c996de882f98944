"""The processes of a run, its ranks: ``torchrun`` starts one per GPU, or a few on the CPU."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist

# A rank may have to wait while another reads its cases.
TIMEOUT = timedelta(minutes=30)
# Longer than torchrun takes to end the other ranks after the one that failed.
SECONDS_TO_REPORT = 5
_FAILURES = "medssl/failures"


def rank() -> int:
    """Return the number of this process among the ranks: 0 if there is only one.

    Example:
        >>> rank()
        0
    """
    return int(os.environ.get("RANK", "0"))


def num_ranks() -> int:
    """Return the number of processes that ``torchrun`` started on all machines: 1 without it.

    Example:
        >>> num_ranks()
        1
    """
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank_device() -> torch.device:
    """Return the device of this process: the GPU of its number on this machine, or the CPU if there is no GPU.

    Raises:
        ValueError: if the machine has fewer GPUs than processes.
    """
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= count:
        raise ValueError(
            f"There are more processes than GPUs on this machine: start torchrun --nproc_per_node {count}."
        )
    return torch.device("cuda", local)


@contextmanager
def joined_ranks() -> Iterator[None]:
    """Join the ranks for the length of a block; does nothing in a single process or if they are already joined.

    An error in the block ends every rank. The first rank to fail raises it with its number, and the others exit
    silently, so the user reads one message. Also works as a decorator.

    Raises:
        ValueError: what went wrong on this rank, if it is a ValueError, OSError or FloatingPointError.
        ConnectionError: if another rank was killed.
    """
    if num_ranks() == 1 or _are_joined():
        yield
        return
    import torch.distributed as dist

    store, number, count = next(dist.rendezvous("env://", timeout=TIMEOUT))
    try:
        _join(store)
        yield
    except Exception as error:
        if _another_failed(store):
            _go_silently(error)
        where = f"Rank {number} of {count}"
        if isinstance(error, ValueError | OSError | FloatingPointError):
            raise ValueError(f"{where}: {error}") from error
        if _is_lost_connection(error):
            raise ConnectionError(f"{where}: another rank was killed or cannot be reached any more.") from error
        raise
    _leave()


def join_ranks() -> None:
    """Join the ranks if there are several and they are not joined yet, for configurations that MONAI runs."""
    if num_ranks() > 1 and not _are_joined():
        import torch.distributed as dist

        _join(next(dist.rendezvous("env://", timeout=TIMEOUT))[0])
        atexit.register(_leave_at_exit)


def _are_joined() -> bool:
    # Without torch nobody has joined them, and to import it takes seconds.
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_initialized()


def _join(store: dist.Store) -> None:
    import torch
    import torch.distributed as dist

    device = rank_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank(), world_size=num_ranks(), timeout=TIMEOUT)


def _leave() -> None:
    """Leave the ranks and end the threads that serve them."""
    import torch.distributed as dist

    # The reducer of the gradients, in a cycle with the trainer, also holds the group. Threads that live until the
    # interpreter shuts down sometimes abort the process when all is done. Whoever releases the group last waits for
    # them; that must not be the reducer, which would hold the interpreter lock that they need to end.
    group = dist.group.WORLD
    dist.destroy_process_group()
    gc.collect()
    del group


def _leave_at_exit() -> None:
    # After an error, this rank and the others may be waiting for each other.
    if _are_joined() and not hasattr(sys, "last_value"):
        _leave()


def _another_failed(store: dist.Store) -> bool:
    import torch.distributed as dist

    try:
        return store.add(_FAILURES, 1) > 1
    except dist.DistError:
        # The rank that held the store is gone.
        return False


def _go_silently(reason: BaseException | None = None) -> None:
    """End this process without a message, after giving the rank that has one time to print it."""
    time.sleep(SECONDS_TO_REPORT)
    raise SystemExit(1) from reason


def _is_lost_connection(error: Exception) -> bool:
    import torch.distributed as dist

    if isinstance(error, dist.DistNetworkError | dist.DistBackendError):
        return True
    # Gloo raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and ("gloo" in str(error) or "Connection" in str(error))


def on_first_rank(action: Callable[[], Any]) -> None:
    """Call a function on rank 0 once all ranks have arrived, while the others wait; if it fails, all ranks end.

    Args:
        action: takes no arguments; its result is dropped.

    Raises:
        Exception: what the function raised, on rank 0 only; the other ranks exit silently.

    Example:
        >>> on_first_rank(lambda: print("written once"))
        written once
    """
    if not _are_joined():
        action()
        return
    import torch
    import torch.distributed as dist

    failed = torch.ones(1)
    dist.all_reduce(failed)
    try:
        if rank() == 0:
            action()
        failed.zero_()
    finally:
        # Rank 0 reports success as well as failure.
        dist.broadcast(failed, 0)
    if failed:
        _go_silently()


def require_one_process(task: str) -> None:
    """Check that ``torchrun`` did not start several processes for a task that runs in one.

    Args:
        task: first words of the message.

    Raises:
        ValueError: if it did.
    """
    with joined_ranks():
        if num_ranks() > 1:
            raise ValueError(f"{task} in one process; start the command without torchrun.")
