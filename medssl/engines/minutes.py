"""A training as long as the time there is for it."""

import logging
import time

from ignite.engine import Engine, Events

TIMED_STEPS = 10
# The first steps allocate memory and choose kernels.
_UNTIMED_STEPS = 2
# A run is shortened where it would otherwise have this share of its epochs left to the time there is for it.
_TOO_SLOW = 0.97

logger = logging.getLogger(__name__)


class FoundLength:
    """Number of epochs that a run was found to have, for its checkpoints; None before it is known."""

    def __init__(self) -> None:
        self.max_epochs: int | None = None

    def state_dict(self) -> dict[str, int]:
        """Return the length, 0 if it is not known."""
        return {"max_epochs": self.max_epochs or 0}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Set the length from a checkpoint."""
        self.max_epochs = state["max_epochs"] or None


class FitToMinutes:
    """Handler that sets the number of epochs so that a run takes about a number of minutes.

    The number of steps is set after the first ones, which are timed, so that schedules that ask the trainer for its
    length end where the run ends. Where steps become slower, because other programs use the processor, it is lowered
    at the end of an epoch. The length belongs into the checkpoint, so that a resumed run keeps it; that run has no
    clock, and is not shortened.

    Args:
        minutes: of the whole training; None leaves the number of epochs as it is.
        length: gets the number of epochs once it is known.

    Raises:
        ValueError: if `minutes` is not positive.
    """

    def __init__(self, minutes: float | None, length: FoundLength) -> None:
        if minutes is not None and minutes <= 0:
            raise ValueError(f"minutes is {minutes}, but a training needs a positive number; set --minutes.")
        self.minutes = minutes
        self.length = length
        self.begin = self.begin_timed = 0.0

    def attach(self, engine: Engine) -> None:
        """Time the first steps, unless the length is known from a checkpoint."""
        if self.minutes is not None:
            engine.add_event_handler(Events.STARTED, self._start)

    def _start(self, engine: Engine) -> None:
        if self.length.max_epochs is not None:
            engine.state.max_epochs = self.length.max_epochs
            return
        self.begin = time.monotonic()
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._time_steps)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._shorten)

    def _time_steps(self, engine: Engine) -> None:
        """Start the clock, or set the length after the timed steps."""
        if engine.state.iteration == _UNTIMED_STEPS:
            self.begin_timed = time.monotonic()
        elif engine.state.iteration == _UNTIMED_STEPS + TIMED_STEPS:
            seconds = (time.monotonic() - self.begin_timed) / TIMED_STEPS
            steps = engine.state.iteration + self._seconds_left() / seconds
            self._set(engine, max(round(steps / engine.state.epoch_length), engine.state.epoch))
            steps = self.length.max_epochs * engine.state.epoch_length
            logger.info("A step takes %.2f s: %d steps in %g minutes.", seconds, steps, self.minutes)

    def _shorten(self, engine: Engine) -> None:
        """Lower the number of epochs where the time no longer suffices for those that are left."""
        if self.length.max_epochs is None:
            return
        seconds = (time.monotonic() - self.begin_timed) / (engine.state.iteration - _UNTIMED_STEPS)
        left = self._seconds_left() / seconds / engine.state.epoch_length
        epochs = engine.state.epoch + max(round(left), 0)
        if epochs < _TOO_SLOW * self.length.max_epochs:
            logger.info("Steps have become slower: %d epochs instead of %d.", epochs, self.length.max_epochs)
            self._set(engine, epochs)

    def _seconds_left(self) -> float:
        return self.minutes * 60 - (time.monotonic() - self.begin)

    def _set(self, engine: Engine, epochs: int) -> None:
        self.length.max_epochs = engine.state.max_epochs = epochs
