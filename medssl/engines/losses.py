"""The named losses of a method in MONAI's trainer."""

from typing import Any

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import Tensor


class MethodLoss:
    """Picks the loss that a method returned, for `SupervisedTrainer(loss_function=...)`."""

    def __call__(self, losses: dict[str, Tensor], _: Tensor) -> Tensor:
        """Return ``losses["loss"]``.

        Raises:
            ValueError: if the method returned anything but named losses, one of them ``loss``.
        """
        if not isinstance(losses, dict) or "loss" not in losses:
            found = ", ".join(losses) if isinstance(losses, dict) else type(losses).__name__
            raise ValueError(
                f"A method's forward(batch) returns named losses, one of them 'loss', but this one returned {found} "
                "(medssl.methods.protocol)."
            )
        return losses["loss"]


class LossValues:
    """Turns the named losses of a step into numbers, for the ``output_transform`` of log handlers."""

    def __call__(self, output: dict[str, Any]) -> dict[str, float]:
        """Return every named loss of the method, or else the trainer's loss as ``loss``."""
        pred = output["pred"]
        named = pred if isinstance(pred, dict) else {"loss": output["loss"]}
        return {name: value.item() for name, value in named.items()}


class StopOnBadLoss:
    """Handler that ends a run whose loss is not finite, before the weights are spoilt.

    Raises:
        FloatingPointError: naming the step and its cases.
    """

    def attach(self, engine: Engine) -> None:
        """Check every loss."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Raise if the loss is not finite."""
        if not torch.isfinite(engine.state.output["loss"]):
            cases = sorted(set(engine.state.batch.get("case", ["unknown"])))
            raise FloatingPointError(
                f"The loss of step {engine.state.iteration} is {engine.state.output['loss'].item()} (cases: "
                f"{', '.join(cases)}). Run `medssl check` on the data list, or lower the learning rate."
            )
