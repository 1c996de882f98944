"""What MONAI's SupervisedTrainer needs to train a method."""

import logging
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import Tensor, nn
from tqdm.auto import tqdm

from medssl.engines.exceptions import on_exception
from medssl.engines.run_folder import save_atomically

logger = logging.getLogger(__name__)


def prepare_views(batch: dict[str, Any], device: torch.device, non_blocking: bool, **_: Any) -> tuple[dict, Tensor]:
    """Give the batch on the device, and the empty target that the trainer asks for."""
    moved = {
        key: value.to(device, non_blocking=non_blocking) if isinstance(value, Tensor) else value
        for key, value in batch.items()
    }
    return moved, torch.empty(0, device=device)


def prepare_image(batch: dict[str, Any], device: torch.device, non_blocking: bool, **_: Any) -> tuple[Tensor, None]:
    """Give the images of a batch on the device and no label, for evaluation against labels on their own grid."""
    return batch["image"].to(device, non_blocking=non_blocking), None


class MethodLoss:
    """Give the loss that a method returned, for `SupervisedTrainer(loss_function=...)`."""

    def __call__(self, losses: dict[str, Tensor], _: Tensor) -> Tensor:
        """Return ``losses["loss"]``."""
        return losses["loss"]


class LossValues:
    """Give the named losses of a step as numbers, for the ``output_transform`` of log handlers."""

    def __call__(self, output: dict[str, Any]) -> dict[str, float]:
        """Return every scalar that the method returned, or the trainer's loss."""
        pred = output["pred"]
        named = pred if isinstance(pred, dict) else {"loss": output["loss"]}
        return {name: value.item() for name, value in named.items()}


class ClipGradients:
    """Handler that scales the gradient of all parameters to a norm of at most `max_norm` before each step."""

    def __init__(self, parameters: Any, max_norm: float = 1.0) -> None:
        self.parameters = list(parameters)
        self.max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """Clip whenever a backward pass is done."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Clip the gradients in place."""
        nn.utils.clip_grad_norm_(self.parameters, self.max_norm)


class StopOnBadLoss:
    """Handler that ends a run whose loss is not finite, before it spoils the weights.

    Raises:
        FloatingPointError: naming the step and its cases.
    """

    def attach(self, engine: Engine) -> None:
        """Look at every loss."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Raise if the loss is not finite."""
        if not torch.isfinite(engine.state.output["loss"]):
            cases = sorted(set(engine.state.batch.get("case", ["unknown"])))
            raise FloatingPointError(
                f"The loss of step {engine.state.iteration} is {engine.state.output['loss'].item()} (cases: "
                f"{', '.join(cases)}). Run `medssl check` on the data list, or lower the learning rate."
            )


class AfterStep:
    """Handler that calls ``method.after_step(progress)`` after each optimizer step, progress running from 0 to 1."""

    def __init__(self, method: nn.Module) -> None:
        self.method = method

    def attach(self, engine: Engine) -> None:
        """Call a method that has an `after_step`; leave others alone."""
        if hasattr(self.method, "after_step"):
            engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Update teachers and queues."""
        self.method.after_step(engine.state.iteration / (engine.state.max_epochs * engine.state.epoch_length))


class Progress:
    """Handler that shows one bar over all steps: losses, steps a second and the time left."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None

    def attach(self, engine: Engine) -> None:
        """Open the bar at the start, move it after each step and close it at the end, however that comes."""
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
        self.bar.update()

    def _close(self, engine: Engine | None = None) -> None:
        if self.bar is not None:
            self.bar.close()


class SaveWeights:
    """Handler that writes the weights of a module as a raw state dict when training is done.

    Args:
        module: the module to save, such as ``method.backbone``.
        path: of the file, written atomically.
    """

    def __init__(self, module: nn.Module, path: str) -> None:
        self.module = module
        self.path = Path(path)

    def attach(self, engine: Engine) -> None:
        """Save at the end of training."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the state dict."""
        save_atomically({key: value.detach().cpu() for key, value in self.module.state_dict().items()}, self.path)
        logger.info("Wrote %s", self.path)
