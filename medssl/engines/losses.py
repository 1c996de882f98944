"""The named losses of a method in MONAI's trainer."""

from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import Tensor

from medssl.runs.checkpoints import before_saving

_LATE = "late_losses"


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
    """Turns the named losses of a step into numbers, for the ``output_transform`` of log handlers.

    On a GPU they are those of the step before, which `StopOnBadLoss` has read without waiting for the device.
    """

    def __call__(self, output: dict[str, Any]) -> dict[str, float]:
        """Return every named loss of the method, or else the trainer's loss as ``loss``."""
        if _LATE in output:
            return output[_LATE]
        return {name: value.item() for name, value in _named_losses(output).items()}


class StopOnBadLoss:
    """Handler that ends a run whose loss is not finite, before the weights are spoilt.

    On a CPU it looks at every loss before the optimizer step. On a GPU that would wait for the device in every step, so
    the losses are copied to the CPU meanwhile and read a step later, and before anything is saved. A fused optimizer
    looks at the loss itself, on the device, and leaves the weights alone if it is not finite.

    Args:
        late: whether the losses are read a step later; None: unless they are on the CPU.

    Raises:
        FloatingPointError: naming the step and its cases.
    """

    def __init__(self, late: bool | None = None) -> None:
        self.late = late
        self.former: _LossCopy | None = None

    def attach(self, engine: Engine) -> None:
        """Check every loss."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._exchange)
        engine.add_event_handler(Events.COMPLETED, self._settle)
        before_saving(engine, self._settle)

    def __call__(self, engine: Engine) -> None:
        """Raise if the loss is not finite, or let a fused optimizer skip its step."""
        loss = engine.state.output["loss"]
        if self._is_late(loss):
            optimizer = engine.optimizer
            if all(group.get("fused") for group in optimizer.param_groups):
                optimizer.found_inf = (~torch.isfinite(loss.detach())).float()
        elif not torch.isfinite(loss):
            raise _bad_loss(engine.state.iteration, loss.item(), _cases(engine))

    def _is_late(self, loss: Tensor) -> bool:
        return loss.device.type != "cpu" if self.late is None else self.late

    def _exchange(self, engine: Engine) -> None:
        """Read the losses of the step before, and begin to copy those of this one."""
        if self._is_late(engine.state.output["loss"]):
            engine.state.output[_LATE] = self._settle()
            self.former = _LossCopy(engine)

    def _settle(self, engine: Engine | None = None) -> dict[str, float]:
        """Return the losses that were copied last, once they have arrived."""
        if self.former is None:
            return {}
        former, self.former = self.former, None
        return former.read()


class _LossCopy:
    """The losses of a step on their way from the device."""

    def __init__(self, engine: Engine) -> None:
        named = _named_losses(engine.state.output)
        device = engine.state.output["loss"].device
        self.step, self.cases, self.names = engine.state.iteration, _cases(engine), list(named)
        values = torch.stack([value.detach().float().to(device, non_blocking=True) for value in named.values()])
        on_gpu = device.type == "cuda"
        self.values = torch.empty(len(named), pin_memory=on_gpu).copy_(values, non_blocking=True)
        self.arrived = torch.cuda.Event() if on_gpu else None
        if self.arrived is not None:
            self.arrived.record()

    def read(self) -> dict[str, float]:
        """Wait until the losses are there, and return them; raises FloatingPointError if the loss is not finite."""
        if self.arrived is not None:
            self.arrived.synchronize()
        values = dict(zip(self.names, self.values.tolist(), strict=True))
        if not torch.isfinite(torch.tensor(values["loss"])):
            raise _bad_loss(self.step, values["loss"], self.cases)
        return values


def _named_losses(output: dict[str, Any]) -> dict[str, Tensor]:
    pred = output["pred"]
    return pred if isinstance(pred, dict) else {"loss": output["loss"]}


def _cases(engine: Engine) -> list[str]:
    return sorted(set(engine.state.batch.get("case", ["unknown"])))


def _bad_loss(step: int, loss: float, cases: list[str]) -> FloatingPointError:
    return FloatingPointError(
        f"The loss of step {step} is {loss} (cases: {', '.join(cases)}). Run `medssl check` on the data list, or lower "
        "the learning rate."
    )
