"""A progress bar over all steps of a run."""

from ignite.engine import Engine, Events
from tqdm.auto import tqdm

from medssl.engines.losses import LossValues
from medssl.runs.exceptions import on_exception


class Progress:
    """Handler that shows one bar over all steps: losses, steps per second and the time left."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None

    def attach(self, engine: Engine) -> None:
        """Open the bar at the start, move it after each step and close it at the end, after an error too."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._move)
        engine.add_event_handler(Events.COMPLETED, self._close)
        on_exception(engine, self._close)

    def _open(self, engine: Engine) -> None:
        state = engine.state
        self.bar = tqdm(
            total=state.max_epochs * state.epoch_length, initial=state.iteration, unit="step", mininterval=1
        )

    def _move(self, engine: Engine) -> None:
        self.bar.set_postfix({k: f"{v:.3f}" for k, v in LossValues()(engine.state.output).items()}, refresh=False)
        self.bar.total = engine.state.max_epochs * engine.state.epoch_length
        self.bar.update()

    def _close(self, engine: Engine | None = None) -> None:
        if self.bar is not None:
            self.bar.close()
