"""Learning rates that depend on the number of the step alone."""

import math

from ignite.engine import Engine, Events
from torch.optim import Optimizer


class WarmupCosine:
    """Handler that raises the learning rate linearly, then lowers it along half a cosine.

    The schedule of Goyal et al. (2017, https://arxiv.org/abs/1706.02677, section 2.2) and Loshchilov & Hutter (2017,
    https://arxiv.org/abs/1608.03983, equation 5, without restarts). The rate depends on the step alone, so a
    resumed run needs nothing else. All parameter groups get the same rate.

    Args:
        optimizer: the one whose learning rate is set before each step.
        peak: learning rate at the end of the warm-up.
        max_epochs: of the run, those of the warm-up included; None asks the trainer at every step.
        steps_per_epoch: of the run; None asks the trainer.
        warmup: share of the run, at least 0 and below 1, over which the rate rises from 0 to `peak`.
        end: learning rate that the cosine reaches after the last step.

    Raises:
        ValueError: if the warm-up is as long as the run.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> schedule = WarmupCosine(optimizer, peak=0.8, warmup=0.34)
        >>> [round(schedule.learning_rate(step, total_steps=6), 3) for step in (1, 2, 3, 4, 5, 6)]
        [0.4, 0.8, 0.8, 0.683, 0.4, 0.117]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        peak: float,
        max_epochs: int | None = None,
        steps_per_epoch: int | None = None,
        warmup: float = 0.0,
        end: float = 0.0,
    ) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f"The warm-up is a share of the run, at least 0 and below 1, got {warmup}.")
        self.optimizer = optimizer
        self.peak = peak
        self.max_epochs = max_epochs
        self.steps_per_epoch = steps_per_epoch
        self.warmup = warmup
        self.end = end

    def attach(self, engine: Engine) -> None:
        """Set the rate before each step."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Set the learning rate of this step in all parameter groups."""
        max_epochs = self.max_epochs or engine.state.max_epochs
        total_steps = max_epochs * (self.steps_per_epoch or engine.state.epoch_length)
        # Looked up every time, because an optimizer that loads a state makes new groups.
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(engine.state.iteration, total_steps)

    def learning_rate(self, step: int, total_steps: int) -> float:
        """Return the learning rate of a step, counted from 1, in a run of so many steps."""
        warmup_steps = int(self.warmup * total_steps)
        if step <= warmup_steps:
            return self.peak * step / warmup_steps
        progress = (step - 1 - warmup_steps) / (total_steps - warmup_steps)
        return self.end + (self.peak - self.end) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
