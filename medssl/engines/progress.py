"""A progress bar over all steps of a run."""

from ignite.engine import Engine, Events
from tqdm.auto import tqdm

from medssl.engines.losses import LossValues
from medssl.engines.timing import DataWait, ExpectedTime
from medssl.runs.exceptions import on_exception


class Progress:
    """Handler that shows one bar over all steps: losses, steps per second and the time left.

    The bar says when the steps wait for data. After the first steps, the time of the whole run is logged.
    """

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.wait = DataWait()
        self.values = LossValues()

    def attach(self, engine: Engine) -> None:
        """Open the bar at the start, move it after each step and close it at the end, after an error too."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._move)
        self.wait.attach(engine)
        ExpectedTime().attach(engine)
        engine.add_event_handler(Events.COMPLETED, self._close)
        on_exception(engine, self._close)

    def _open(self, engine: Engine) -> None:
        state = engine.state
        self.bar = tqdm(
            total=state.max_epochs * state.epoch_length, initial=state.iteration, unit="step", mininterval=1
        )

    def _move(self, engine: Engine) -> None:
        losses = [f"{name}={value:.3f}" for name, value in self.values(engine.state.output).items()]
        waits = [text] if (text := self.wait.words()) else []
        self.bar.set_postfix_str(", ".join([*losses, *waits]), refresh=False)
        self.bar.total = engine.state.max_epochs * engine.state.epoch_length
        self.bar.update()

    def _close(self, engine: Engine | None = None) -> None:
        if self.bar is not None:
            self.bar.close()
