"""Handlers that act just before and just after an optimizer step."""

from typing import Any

from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import nn

from medssl.methods.protocol import HasAfterStep, Method, require_method


class ClipGradients:
    """Handler that scales the gradient of all parameters to a norm of at most `max_norm` before each step."""

    def __init__(self, parameters: Any, max_norm: float = 1.0) -> None:
        self.parameters = list(parameters)
        self.max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """Clip after each backward pass."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Clip the gradients in place."""
        nn.utils.clip_grad_norm_(self.parameters, self.max_norm)


class AfterStep:
    """Handler that calls ``method.after_step(progress)`` after each optimizer step, with the share of steps done.

    Args:
        method: the method that is trained; nothing is called if it has no `after_step`.

    Raises:
        ValueError: if it is not a method, naming the member that it lacks.
    """

    def __init__(self, method: Method) -> None:
        require_method(method)
        self.method = method

    def attach(self, engine: Engine) -> None:
        """Call a method that has an `after_step`; leave others alone."""
        if isinstance(self.method, HasAfterStep):
            engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Update teachers and queues."""
        self.method.after_step(engine.state.iteration / (engine.state.max_epochs * engine.state.epoch_length))
