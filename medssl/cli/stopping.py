"""How a command answers Ctrl-C and SIGTERM."""

import os
import signal
import sys
from functools import partial
from types import FrameType

_ANSWER = b"\nStopping: what has begun is ended or removed. Once more stops at once.\n"
_AGAIN_SECONDS = 0.5
_received: list[int] = []


def answer_signals() -> None:
    """Make the process end on SIGINT or SIGTERM with status 130 or 143, after what it has begun is cleaned up.

    It says so at once; a second signal ends it at once. A training answers by `medssl.runs.stop.StopOnSignal` as long
    as it runs. A signal that the process was started to ignore, as by ``nohup``, stays ignored.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def status_of_signal() -> int | None:
    """Return the exit status that a signal asks for, or None if there was none.

    Code that catches everything, such as Python's own that imports a module by its name, makes another error of it.
    """
    return 128 + _received[0] if _received else None


def stop_answering() -> None:
    """Leave the end of the process alone."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    _received.clear()


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    _received.append(number)
    # Printing could find its buffer in use.
    os.write(2, _ANSWER)
    # An object that was being made when the signal came, such as a progress bar, may fail to take itself down.
    sys.unraisablehook = _nothing
    signal.signal(signal.SIGALRM, partial(_stop_again, number))
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS, _AGAIN_SECONDS)
    _raise(number)


def _nothing(unraisable: object) -> None:
    """Say nothing of an error that Python could only print."""


def _stop_again(number: int, alarm: int, frame: FrameType | None) -> None:
    """Raise again what code that catches everything has dropped, but never while it is being cleaned up after."""
    found = sys.exception()
    while found is not None and not isinstance(found, KeyboardInterrupt | SystemExit):
        found = found.__context__
    if found is None:
        _raise(number)


def _raise(number: int) -> None:
    # Python's own pools and Typer know what a KeyboardInterrupt is.
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
