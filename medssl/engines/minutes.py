"""A training as long as the time there is for it."""

import logging
import time

from ignite.engine import Engine, Events

TIMED_STEPS = 10
# The first steps allocate memory and choose kernels.
_UNTIMED_STEPS = 2

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

    The first steps are timed, then the number of steps is fixed for good: schedules that ask the trainer for its length
    end where the run ends. The length belongs into the checkpoint, so that a resumed run keeps it.

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
        self.begin = 0.0

    def attach(self, engine: Engine) -> None:
        """Time the first steps, unless the length is known from a checkpoint."""
        if self.minutes is not None:
            engine.add_event_handler(Events.STARTED, self._keep_known_length)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _keep_known_length(self, engine: Engine) -> None:
        if self.length.max_epochs is not None:
            engine.state.max_epochs = self.length.max_epochs

    def __call__(self, engine: Engine) -> None:
        """Start the clock, or set the length after the timed steps."""
        if self.length.max_epochs is not None:
            return
        if engine.state.iteration <= _UNTIMED_STEPS:
            self.begin = time.monotonic()
        elif engine.state.iteration == _UNTIMED_STEPS + TIMED_STEPS:
            seconds = (time.monotonic() - self.begin) / TIMED_STEPS
            epochs = max(round(self.minutes * 60 / seconds / engine.state.epoch_length), 1)
            self.length.max_epochs = engine.state.max_epochs = epochs
            steps = epochs * engine.state.epoch_length
            logger.info("A step takes %.2f s: %d steps in %g minutes.", seconds, steps, self.minutes)
