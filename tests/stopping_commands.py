"""Long commands, the moment at which a signal comes, and the words with which they answer it."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.forked import Forked

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
_BEGUN_SECONDS = 120


def stopped(
    words: list[Any], out: Path | None, log: Path, number: int, delay: float = 0.0, to_group: bool = False
) -> tuple[int, str, float]:
    """Start a command, send it a signal once it has made something in a folder, and wait for its end.

    Args:
        words: of the command.
        out: folder whose first entry shows that it has begun; None: its start is enough.
        log: file of what it prints.
        number: of the signal.
        delay: seconds between that and the signal.
        to_group: send it to all processes of the command, as a terminal does.

    Returns:
        The exit status, what the command printed, and the seconds until it answered.
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
    return process.poll(), process.output(), (answered or time.monotonic()) - sent


def _has_entries(folder: Path | None) -> bool:
    return folder is None or (folder.exists() and any(folder.iterdir()))


def temporary_entries(folder: Path) -> list[str]:
    """Give the hidden files and folders below a folder, but for locks."""
    return [str(path) for path in folder.rglob(".*") if path.name != ".lock"]
