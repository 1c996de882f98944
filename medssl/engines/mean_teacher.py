"""Mean Teacher: training on labelled and unlabelled patches at once."""

import math
from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.networks.teacher import Teacher


def consistency(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of the probabilities (sigmoid) of two networks, a scalar in float32.

    The consistency cost of Tarvainen & Valpola (2017, https://arxiv.org/abs/1703.01780), where each class is a
    yes-or-no question.

    Args:
        student: logits of shape ``(B, K, *spatial)``.
        teacher: logits of the same shape.

    Example:
        >>> consistency(torch.full((1, 1, 2, 2), 20.0), torch.full((1, 1, 2, 2), -20.0))
        tensor(1.)
    """
    with torch.autocast(student.device.type, enabled=False):
        return F.mse_loss(student.float().sigmoid(), teacher.float().sigmoid())


def sigmoid_ramp(progress: float) -> float:
    """Return a factor that rises from ``exp(-5)`` to 1: ``exp(-5 * (1 - progress)**2)`` (Laine & Aila, 2017).

    Args:
        progress: share of the rise that is done; values above 1 count as 1.

    Example:
        >>> [round(sigmoid_ramp(progress), 4) for progress in (0.0, 0.5, 1.0, 2.0)]
        [0.0067, 0.2865, 1.0, 1.0]
    """
    return math.exp(-5 * (1 - min(progress, 1.0)) ** 2)


class MeanTeacher(nn.Module):
    """The losses of a batch with labelled and unlabelled patches.

    A segmentation loss on the labelled patches, and on the unlabelled ones the `consistency` with a teacher that sees
    them with noise. The student takes both in one pass. The teacher is always in evaluation mode: it predicts here as
    it does in validation.

    Batch keys: ``image`` and ``label``; ``unlabeled`` and ``unlabeled_noisy``, the same patches as student and teacher
    see them. All images have the shape ``(B, C, *spatial)``; the number of unlabelled patches is free.

    Args:
        student: the network that is trained; it gives logits of shape ``(B, K, *spatial)``.
        loss: maps logits and label to a scalar.

    Attributes:
        teacher: follows the student.
        weight: of the consistency; `GuideTeacher` sets it before every step.

    Example:
        >>> from medssl.losses.dice_bce import DiceBCELoss
        >>> image, label = torch.rand(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
        >>> method = MeanTeacher(nn.Conv2d(1, 2, 1), DiceBCELoss())
        >>> losses = method({"image": image, "label": label, "unlabeled": image, "unlabeled_noisy": image})
        >>> sorted(losses), losses["consistency"].item()
        (['consistency', 'loss', 'supervised', 'weight'], 0.0)
    """

    def __init__(self, student: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.student = student
        self.teacher = Teacher(student).eval()
        self.loss = loss
        self.weight = 0.0

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return ``loss`` and, detached, ``supervised``, ``consistency`` and the ``weight`` of the latter."""
        labelled = len(batch["image"])
        logits = self.student(torch.cat([batch["image"], batch["unlabeled"]]))
        supervised = self.loss(logits[:labelled], batch["label"])
        difference = consistency(logits[labelled:], self.teacher(batch["unlabeled_noisy"]))
        return {
            "loss": supervised + self.weight * difference,
            "supervised": supervised.detach(),
            "consistency": difference.detach(),
            "weight": difference.new_tensor(self.weight),
        }

    def train(self, mode: bool = True) -> "MeanTeacher":
        """Set training mode, except for the teacher."""
        super().train(mode)
        self.teacher.eval()
        return self


class GuideTeacher:
    """Handler that makes the teacher follow the student, and raises the weight of the consistency.

    After step ``n`` the teacher moves with a momentum of ``min(1 - 1 / n, momentum)``, so at first it is the plain mean
    of the student's weights; before the first step it equals the student. The weight of the consistency in a step is
    `weight` times `sigmoid_ramp`. Both depend on the number of the step alone. The defaults are those of the public
    code collection SSL4MIS. Attach it after handlers that load weights.

    Args:
        method: the one whose teacher is guided.
        weight: weight of the consistency at the end of the rise; 0.1 fits a mean over voxels and classes.
        ramp: share of the training over which the weight rises.
        momentum: the teacher's, once the training has run for a while.

    Raises:
        ValueError: if the ramp is not above 0.
    """

    def __init__(self, method: MeanTeacher, weight: float = 0.1, ramp: float = 1.0, momentum: float = 0.99) -> None:
        if ramp <= 0:
            raise ValueError(f"consistency_ramp must be above 0, got {ramp}; 1 is the whole training.")
        self.method = method
        self.weight = weight
        self.ramp = ramp
        self.momentum = momentum

    def attach(self, engine: Engine) -> None:
        """Start the teacher, set the weight before each step and update the teacher after it."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED, self._weigh)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._update)

    def _start(self, engine: Engine) -> None:
        # A resumed run has loaded its teacher.
        if engine.state.iteration == 0:
            self.method.teacher.update(self.method.student, momentum=0.0)

    def _weigh(self, engine: Engine) -> None:
        steps = engine.state.max_epochs * engine.state.epoch_length * self.ramp
        self.method.weight = self.weight * sigmoid_ramp((engine.state.iteration - 1) / steps)

    def _update(self, engine: Engine) -> None:
        momentum = min(1 - 1 / engine.state.iteration, self.momentum)
        self.method.teacher.update(self.method.student, momentum=momentum)
