"""Training a segmentation network: parameter groups, unfreezing, the best weights."""

from pathlib import Path

import torch
from ignite.engine import Engine, Events

from medssl.networks.segmentation import SegmentationNetwork
from medssl.runs.tensors import save_atomically


def adam_with_backbone_group(network: SegmentationNetwork, lr: float) -> torch.optim.Adam:
    """Return an Adam optimizer with two named parameter groups, ``head`` and ``backbone``.

    The groups are explicit, so that a schedule for the backbone can never change the head's learning rate.

    Args:
        network: the one whose `head` and `backbone` are trained.
        lr: learning rate of both groups.
    """
    return torch.optim.Adam(
        [
            {"name": "head", "params": list(network.head.parameters())},
            {"name": "backbone", "params": list(network.backbone.parameters())},
        ],
        lr=lr,
    )


class UnfreezeBackbone:
    """Handler that keeps the backbone frozen at first, then raises its learning rate exponentially.

    The schedule of Kats et al. (2024), section 3.2: 15,000 steps frozen (batch norm too), then from 3e-5 to 3e-4
    within 1,200 steps. The state depends on the step number alone, so a resumed run needs nothing else.

    Args:
        network: the one whose backbone is frozen.
        optimizer: from `adam_with_backbone_group`.
        frozen_steps: number of steps that train the head alone.
        rise_steps: number of steps over which the learning rate rises.
        lr_start: learning rate of the backbone when it is unfrozen.
        lr_end: learning rate of the backbone after the rise.
        head_lr_after: learning rate of the head once the backbone is unfrozen; None leaves it as it is.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        optimizer: torch.optim.Optimizer,
        frozen_steps: int = 15000,
        rise_steps: int = 1200,
        lr_start: float = 3e-5,
        lr_end: float = 3e-4,
        head_lr_after: float | None = None,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.head_lr_after = head_lr_after
        self.frozen_steps = frozen_steps
        self.rise_steps = rise_steps
        self.lr_start = lr_start
        self.lr_end = lr_end

    def attach(self, engine: Engine) -> None:
        """Set the state before every step."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Freeze or unfreeze the backbone and set its learning rate for this step (counted from 1)."""
        steps_unfrozen = engine.state.iteration - 1 - self.frozen_steps
        if self.network.frozen != (steps_unfrozen < 0):
            self.network.set_frozen(steps_unfrozen < 0)
        # Looked up every time, because an optimizer makes new groups when it loads a state.
        groups = {group["name"]: group for group in self.optimizer.param_groups}
        groups["backbone"]["lr"] = self.learning_rate(steps_unfrozen)
        if steps_unfrozen >= 0 and self.head_lr_after is not None:
            groups["head"]["lr"] = self.head_lr_after

    def learning_rate(self, steps_unfrozen: int) -> float:
        """Return the backbone's learning rate a number of steps after unfreezing (negative: still frozen, 0)."""
        if steps_unfrozen < 0:
            return 0.0
        risen = min(steps_unfrozen / self.rise_steps, 1.0)
        return self.lr_start * (self.lr_end / self.lr_start) ** risen


class KeepBest:
    """Handler for an evaluator that writes the network's weights whenever the key metric is the best so far.

    Args:
        network: the one whose raw state dict is written.
        path: the file, written atomically.
    """

    def __init__(self, network: torch.nn.Module, path: str) -> None:
        self.network = network
        self.path = Path(path)
        self.best = -1.0

    def attach(self, engine: Engine) -> None:
        """Look at the metric after each validation."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the weights if the metric is better; an undefined one (NaN) never is."""
        metric = engine.state.metrics[engine.state.key_metric_name]
        if metric > self.best:
            self.best = float(metric)
            save_atomically({k: v.detach().cpu() for k, v in self.network.state_dict().items()}, self.path)

    def state_dict(self) -> dict[str, float]:
        """Return the best metric, for checkpoints."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Set the best metric, from a checkpoint."""
        self.best = state["best"]
