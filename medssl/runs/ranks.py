"""Training on several processes, the ranks, that ``torchrun`` starts: one a GPU, or a few on the CPU."""

import atexit
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

# A rank may wait as long as another needs to read its cases.
TIMEOUT = timedelta(minutes=30)
# Longer than torchrun takes to end the other ranks after the one that failed.
SECONDS_TO_REPORT = 5
_FAILURES = "medssl/failures"


def rank() -> int:
    """Give the number of this process among the ranks: 0 where there is but one.

    Example:
        >>> rank()
        0
    """
    return int(os.environ.get("RANK", "0"))


def num_ranks() -> int:
    """Give the number of processes that ``torchrun`` started, over all machines: 1 without it.

    Example:
        >>> num_ranks()
        1
    """
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank_device() -> torch.device:
    """Give the device of this process: the GPU of its number on this machine, or the CPU where there is no GPU.

    Raises:
        ValueError: if the machine has fewer GPUs than processes.
    """
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
    """Join the ranks for the length of a block; in a single process, or where they are joined already, do nothing.

    An error within the block ends every rank: the first rank to fail raises it with its number, the others go without
    a word, so that a user reads one message. Also a decorator.

    Raises:
        ValueError: what went wrong in this rank, if it is a ValueError, OSError or FloatingPointError.
        ConnectionError: if another rank was killed.
    """
    if num_ranks() == 1 or dist.is_initialized():
        yield
        return
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
    """Join the ranks, if there are several and they are not joined yet: for configurations that MONAI runs."""
    if num_ranks() > 1 and not dist.is_initialized():
        _join(next(dist.rendezvous("env://", timeout=TIMEOUT))[0])
        atexit.register(_leave_at_exit)


def _join(store: dist.Store) -> None:
    device = rank_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank(), world_size=num_ranks(), timeout=TIMEOUT)


def _leave() -> None:
    """Leave the ranks and end the threads that served them."""
    # The reducer of the gradients, in a cycle with the trainer, holds the group too. Threads that live until the
    # interpreter is torn down abort the process now and then, when all is done. Who lets the group go last waits for
    # them: it must not be the reducer, which would keep the interpreter's lock that they need to end.
    group = dist.group.WORLD
    dist.destroy_process_group()
    gc.collect()
    del group


def _leave_at_exit() -> None:
    # After an error the other ranks may wait for this one, and this one for them.
    if dist.is_initialized() and not hasattr(sys, "last_value"):
        _leave()


def _another_failed(store: dist.Store) -> bool:
    try:
        return store.add(_FAILURES, 1) > 1
    except dist.DistError:
        # The rank that held the store is gone.
        return False


def _go_silently(reason: BaseException | None = None) -> None:
    """End this process without a message, once the rank that has one had the time to print it."""
    time.sleep(SECONDS_TO_REPORT)
    raise SystemExit(1) from reason


def _is_lost_connection(error: Exception) -> bool:
    if isinstance(error, dist.DistNetworkError | dist.DistBackendError):
        return True
    # What gloo raises is a plain RuntimeError.
    return isinstance(error, RuntimeError) and ("gloo" in str(error) or "Connection" in str(error))


def on_first_rank(action: Callable[[], Any]) -> None:
    """Call a function on rank 0 once all ranks have come here, while they wait; if it fails there, all ranks end.

    Args:
        action: without arguments; what it returns is dropped.

    Raises:
        Exception: what the function raised, on rank 0 alone; the other ranks go without a word.

    Example:
        >>> on_first_rank(lambda: print("written once"))
        written once
    """
    if not dist.is_initialized():
        action()
        return
    failed = torch.ones(1)
    dist.all_reduce(failed)
    try:
        if rank() == 0:
            action()
        failed.zero_()
    finally:
        # Rank 0 tells, in success and in failure.
        dist.broadcast(failed, 0)
    if failed:
        _go_silently()


def refuse_ranks(task: str) -> None:
    """Refuse a task that runs in one process only.

    Args:
        task: first words of the message.

    Raises:
        ValueError: if ``torchrun`` started several processes.
    """
    with joined_ranks():
        if num_ranks() > 1:
            raise ValueError(f"{task} in one process; start the command without torchrun.")
