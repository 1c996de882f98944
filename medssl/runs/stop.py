"""How a signal stops a run so that it can be resumed."""

import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events

from medssl.runs.checkpoints import SaveCheckpoints
from medssl.runs.exceptions import on_exception
from medssl.runs.ranks import rank

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A terminal sends Ctrl-C to all processes of a command, and torchrun or a protocol passes it on to its own.
SAME_SECONDS = 1.0
_ANSWER = b"\nStopping after this step (or validation), with a checkpoint. Once more stops at once.\n"

logger = logging.getLogger(__name__)


class StopOnSignal:
    """Handler that ends a run on SIGTERM or SIGINT at the end of the step, with a checkpoint.

    It says at once what it waits for. A validation in progress is finished first, so that the checkpoint includes it.
    The process exits with status 143 or 130; a second signal, later than `SAME_SECONDS`, ends it at once. If several
    ranks train, all of them stop after the same step as soon as one got a signal. Attach it last.

    Args:
        folder: where the checkpoint goes, as in `SaveCheckpoints`.
        objects: what to save, as in `SaveCheckpoints`.
    """

    def __init__(self, folder: str, objects: dict[str, Any]) -> None:
        self.save = SaveCheckpoints(folder, objects, interval=1)
        self.received: int | None = None
        self.received_at = 0.0
        self.former: dict[int, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Listen for signals from the start to the end of training."""
        engine.add_event_handler(Events.STARTED, self._listen)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._stop_within_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._stop_after_epoch)
        engine.add_event_handler(Events.COMPLETED, self._restore)
        on_exception(engine, self._restore)

    def _listen(self, engine: Engine) -> None:
        # Python delivers signals to the main thread only.
        if threading.current_thread() is threading.main_thread():
            self.former = {number: signal.signal(number, self._note) for number in SIGNALS}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received, self.received_at = number, time.monotonic()
            # Printing could find its buffer in use.
            os.write(2, _ANSWER)
        elif time.monotonic() - self.received_at >= SAME_SECONDS:
            self._restore()
            os.kill(os.getpid(), number)

    def _restore(self, engine: Engine | None = None) -> None:
        for number, former in self.former.items():
            signal.signal(number, former)
        self.former = {}

    def _stop_within_epoch(self, engine: Engine) -> None:
        if engine.state.iteration % engine.state.epoch_length:
            self._stop(engine)

    def _stop_after_epoch(self, engine: Engine) -> None:
        # A run that has done all of its steps ends without help.
        if engine.state.epoch < engine.state.max_epochs:
            self._stop(engine)

    def _stop(self, engine: Engine) -> None:
        number = _of_any_rank(self.received)
        if number and rank() == 0:
            self.save(engine)
            logger.warning("Stopped after step %d; continue with --resume.", engine.state.iteration)
        if number:
            raise SystemExit(128 + number)


def _of_any_rank(number: int | None) -> int:
    """Return the number of the signal that any rank received, 0 for none."""
    if not dist.is_initialized():
        return number or 0
    highest = torch.tensor(number or 0)
    dist.all_reduce(highest, dist.ReduceOp.MAX)
    return int(highest)


def leave_signals_to_main(worker: int) -> None:
    """Make a process that loads data ignore SIGTERM and SIGINT, for ``DataLoader(worker_init_fn=...)``.

    Both are often sent to all processes of a run, and the main one still needs data to end its step.

    Args:
        worker: its number, which is not used.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
