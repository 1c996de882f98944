"""Many runs in a few processes, with one bar for the time left for all of them."""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, connection, get_context, parent_process
from threading import Thread
from typing import Any, NamedTuple

from tqdm.auto import tqdm

_REFRESH_SECONDS = 5.0
_QUIET = "TQDM_DISABLE"


class Job(NamedTuple):
    """A run that is still to be made.

    Attributes:
        kind: runs of a kind are expected to take the same time.
        run: makes it; picklable.
    """

    kind: str
    run: Callable[[], Any]


def run_jobs(stages: Sequence[Sequence[Job]], num_processes: int, num_finished: int = 0) -> None:
    """Run all jobs, each stage after the one before, while one bar shows the time left for all.

    A run that fails does not end the others of its stage. The processes end with this one, after a kill too.

    Args:
        stages: jobs; those of a stage run in any order.
        num_processes: runs at a time.
        num_finished: runs that were finished before, for the bar.

    Raises:
        BrokenProcessPool: if a process was killed.
        Exception: the first error of a run, when all others of its stage are done.
    """
    expected = TimeLeft([job.kind for stage in stages for job in stage], num_processes)
    total = num_finished + sum(map(len, stages))
    layout = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} runs [{elapsed}{postfix}]"
    bar = tqdm(total=total, initial=num_finished, bar_format=layout)
    # The bars of single runs would be drawn over this one.
    with bar, _environment(_QUIET, "1"), _pool(num_processes) as pool:
        try:
            for stage in stages:
                _run_stage(pool, stage, bar, expected)
        except BrokenProcessPool as error:
            raise BrokenProcessPool(
                "A process was killed, perhaps for lack of memory; the same command continues, perhaps with fewer "
                "--processes."
            ) from error
        except (KeyboardInterrupt, SystemExit):
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                # Each run saves a checkpoint after its step.
                process.terminate()
            raise
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run_stage(pool: ProcessPoolExecutor, stage: Sequence[Job], bar: tqdm, expected: "TimeLeft") -> None:
    waiting = {pool.submit(_timed, job.run): job.kind for job in stage}
    started = list(waiting)
    while waiting:
        done, _ = wait(waiting, timeout=_REFRESH_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            expected.finish(waiting.pop(future), None if future.exception() else future.result())
        bar.update(len(done))
        bar.set_postfix_str(expected.words())
    _raise_first(started)


def _raise_first(futures: Sequence[Future]) -> None:
    for future in futures:
        future.result()


class TimeLeft:
    """The time that is left for runs of several kinds, from those that are done.

    Args:
        kinds: of all runs.
        num_processes: runs at a time.

    Example:
        >>> left = TimeLeft(["pretrain", "probe", "probe", "probe"], num_processes=2)
        >>> left.words()
        'time left: known after the first run'
        >>> left.finish("pretrain", 600.0)
        >>> left.finish("probe", 60.0)
        >>> left.seconds()
        60.0
    """

    def __init__(self, kinds: Sequence[str], num_processes: int) -> None:
        self.left = Counter(kinds)
        self.num_processes = num_processes
        self.took: dict[str, list[float]] = defaultdict(list)
        self.last = time.monotonic()

    def finish(self, kind: str, seconds: float | None) -> None:
        """Count a run as done; None if it failed."""
        self.left[kind] -= 1
        self.last = time.monotonic()
        if seconds is not None:
            self.took[kind].append(seconds)

    def seconds(self) -> float | None:
        """Return the seconds left when the last run ended; kinds not seen yet take the mean of the others."""
        if not self.took:
            return None
        means = {kind: sum(seconds) / len(seconds) for kind, seconds in self.took.items()}
        default = sum(means.values()) / len(means)
        return sum(count * means.get(kind, default) for kind, count in self.left.items()) / self.num_processes

    def words(self) -> str:
        """Return the time left as text."""
        left = self.seconds()
        if left is None:
            return "time left: known after the first run"
        return f"about {tqdm.format_interval(max(0, left - (time.monotonic() - self.last)))} left"


def _timed(run: Callable[[], Any]) -> float:
    start = time.monotonic()
    run()
    return time.monotonic() - start


def _pool(num_processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(num_processes, mp_context=get_context("spawn"), initializer=prepare_process)


def prepare_process() -> None:
    """Prepare a process of a pool: one thread, since there is one process a core, and an end with its parent's."""
    import torch

    torch.set_num_threads(1)
    end_with_parent()


def end_with_parent() -> None:
    """Let this process of a pool end at once when its parent is gone, however that ended.

    What it worked on would stay locked, and nobody would use it.
    """
    Thread(target=partial(_end_with, parent_process().sentinel), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable that processes started in the block inherit."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
