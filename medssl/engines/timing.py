"""What the steps of a run take: the share that waits for data, and the time of all steps together."""

import logging
import time
from collections import deque

from ignite.engine import Engine, Events

# The first steps start the workers, allocate memory and choose kernels.
UNTIMED_STEPS = 2
TIMED_STEPS = 10
_NOTABLE_SHARE = 0.1
_RECENT_STEPS = 20
_DAY = 24 * 3600.0

logger = logging.getLogger(__name__)


class DataWait:
    """Handler that measures what share of the last steps went by in waiting for their batches."""

    def __init__(self) -> None:
        self.steps: deque[tuple[float, float]] = deque(maxlen=_RECENT_STEPS)
        self.waited = self.begin = 0.0

    def attach(self, engine: Engine) -> None:
        """Measure every step; attach it after the handlers whose time counts as that of the step."""
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._begin)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._got_batch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._end)

    def _begin(self, engine: Engine) -> None:
        self.begin = time.monotonic()

    def _got_batch(self, engine: Engine) -> None:
        self.waited = time.monotonic() - self.begin

    def _end(self, engine: Engine) -> None:
        self.steps.append((self.waited, time.monotonic() - self.begin))

    @property
    def share(self) -> float:
        """The share of the recent steps, from 0 to 1; 0 before enough of them are measured."""
        timed = list(self.steps)[UNTIMED_STEPS:]
        if len(timed) < UNTIMED_STEPS:
            return 0.0
        waited, total = (sum(column) for column in zip(*timed, strict=True))
        return waited / total if total else 0.0

    def words(self) -> str:
        """Advice for the progress bar, empty while the steps hardly wait.

        Example:
            >>> wait = DataWait()
            >>> wait.steps.extend([(0.4, 1.0)] * 20)
            >>> wait.words()
            'waiting for data 40 %: more --num_workers'
        """
        share = self.share
        return f"waiting for data {share:.0%}: more --num_workers".replace("%", " %") if share > _NOTABLE_SHARE else ""


class ExpectedTime:
    """Handler that logs, after a few timed steps, how long all steps of the run will take on this machine."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.begin = 0.0

    def attach(self, engine: Engine) -> None:
        """Time the first steps; attach it after the handlers that set the length of the run."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Start the clock, or log the time once enough steps are timed."""
        state = engine.state
        if self.first is None:
            self.first = state.iteration
        done = state.iteration - self.first + 1
        if done == UNTIMED_STEPS:
            self.begin = time.monotonic()
        elif done == UNTIMED_STEPS + TIMED_STEPS:
            seconds = (time.monotonic() - self.begin) / TIMED_STEPS
            left = state.max_epochs * state.epoch_length - state.iteration
            if left > 0:
                logger.info("%s", forecast(seconds, left, state.epoch_length))


def forecast(seconds: float, num_steps: int, epoch_length: int) -> str:
    """The time of a run in words, and for more than a day how to get one that takes a day.

    Args:
        seconds: of a step.
        num_steps: that are left.
        epoch_length: steps of an epoch.

    Example:
        >>> forecast(11.6, 50_000, 100)
        'A step takes 11.6 s: the 50,000 steps left take about 6.7 days on this machine (--max_epochs 74: about a day).'
        >>> forecast(0.25, 1_000, 100)
        'A step takes 0.25 s: the 1,000 steps left take about 4.2 minutes on this machine.'
    """
    text = f"A step takes {seconds:.3g} s: the {num_steps:,} steps left take about {duration(seconds * num_steps)}"
    epochs = _DAY // (seconds * epoch_length)
    shorter = f" (--max_epochs {epochs:.0f}: about a day)" if seconds * num_steps > 1.5 * _DAY and epochs else ""
    return f"{text} on this machine{shorter}."


def duration(seconds: float) -> str:
    """A duration in words, in the largest unit of which there are one and a half.

    Example:
        >>> [duration(value) for value in (40, 250, 20_000, 580_000)]
        ['40 seconds', '4.2 minutes', '5.6 hours', '6.7 days']
    """
    for unit, length in (("days", _DAY), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * length:
            count = seconds / length
            return f"{count:.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"
    return f"{seconds:.0f} seconds"
