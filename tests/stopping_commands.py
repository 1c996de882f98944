"""Long commands, the moment at which a signal comes, and the words with which they answer it."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.forked import Forked

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
_BEGUN_SECONDS = 120
# Processes of a pool notice that their parent has gone.
_ORPHAN_SECONDS = 10


class Stopped(NamedTuple):
    """How a command ended that got a signal.

    Attributes:
        status: its exit status; 0 if it ended before the signal came.
        output: what it printed.
        answered: seconds from the signal to its answer.
        ended: seconds from the signal to its end.
        orphans: command lines of its processes that were still there a while after.
    """

    status: int
    output: str
    answered: float
    ended: float
    orphans: list[str]


def stopped(
    words: list[Any], out: Path | None, log: Path, number: int, delay: float = 0.0, to_group: bool = False
) -> Stopped:
    """Start a command, send it a signal once it has made something in a folder, and wait for its end.

    Args:
        words: of the command.
        out: folder whose first entry shows that it has begun; None: its start is enough.
        log: file of what it prints.
        number: of the signal.
        delay: seconds between that and the signal.
        to_group: send it to all processes of the command, as a terminal does.
    """
    process = Forked(words, log, log.parent)
    limit = time.monotonic() + _BEGUN_SECONDS
    while process.poll() is None and not (log.exists() and _has_entries(out)) and time.monotonic() < limit:
        time.sleep(0.002)
    time.sleep(delay)
    sent, answered = time.monotonic(), None
    if process.poll() is None:
        (os.killpg if to_group else os.kill)(process.pid, number)
    while process.poll() is None:
        if answered is None and "Stopping" in process.output():
            answered = time.monotonic()
        time.sleep(0.002)
    ended = time.monotonic()
    return Stopped(process.poll(), process.output(), (answered or ended) - sent, ended - sent, _orphans(process.pid))


def _orphans(session: int) -> list[str]:
    """Give what is left of the processes of a command, which had a session of their own."""
    limit = time.monotonic() + _ORPHAN_SECONDS
    while (found := _of_session(session)) and time.monotonic() < limit:
        time.sleep(0.05)
    return found


def _of_session(session: int) -> list[str]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


def _has_entries(folder: Path | None) -> bool:
    return folder is None or (folder.exists() and any(folder.iterdir()))


def temporary_entries(folder: Path) -> list[str]:
    """Give the hidden files and folders below a folder, but for locks."""
    return [str(path) for path in folder.rglob(".*") if path.name != ".lock"]


def faults(done: Stopped, number: int, out: Path) -> list[str]:
    """Say what a command did not do as it should when it got a signal; nothing for one that had ended."""
    if done.status == 0:
        return []
    found = [] if done.status == STATUS[number] else [f"ended with {done.status}"]
    found += [] if "Stopping" in done.output else ["no answer"]
    found += ["a traceback"] if "Traceback" in done.output else []
    found += [f"left {path}" for path in temporary_entries(out)] + [f"still runs: {words}" for words in done.orphans]
    return found
