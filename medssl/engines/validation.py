"""Validation at the end of a training, whatever its length."""

from ignite.engine import Engine, Events


class ValidateLastEpoch:
    """Handler that validates after the last epoch where the interval of validation does not end with it.

    A run whose length is found on the way, or that is shorter than the interval, so has judged weights too.

    Args:
        validator: as MONAI's ``ValidationHandler`` takes it.
        interval: epochs between validations.

    Example:
        >>> validator = Engine(lambda engine, batch: None)
        >>> validator.run = lambda epoch: print("validated after epoch", epoch)
        >>> trainer = Engine(lambda engine, batch: None)
        >>> ValidateLastEpoch(validator, interval=5).attach(trainer)
        >>> _ = trainer.run([0], max_epochs=7)
        validated after epoch 7
    """

    def __init__(self, validator: Engine, interval: int) -> None:
        self.validator = validator
        self.interval = interval

    def attach(self, engine: Engine) -> None:
        """Look at every epoch whether it is the last."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Validate, if this was the last epoch and is not validated anyway."""
        if engine.state.epoch == engine.state.max_epochs and engine.state.epoch % self.interval:
            self.validator.run(engine.state.epoch)
