"""A teacher that follows its student."""

import copy
from typing import Any

import torch
from torch import nn

from medssl.ops.momentum import move_towards


class Teacher(nn.Module):
    """Give what a slowly moving copy of a network gives, without gradients.

    The target network of BYOL (Grill et al., 2020, https://arxiv.org/abs/2006.07733, section 3.1) and the key encoder
    of MoCo (He et al., 2020, https://arxiv.org/abs/1911.05722, equation 2).

    Args:
        student: the network, copied as it is now.

    Example:
        >>> student = nn.Linear(2, 1)
        >>> teacher = Teacher(student)
        >>> torch.nn.init.zeros_(student.weight).sum().item()
        0.0
        >>> teacher.update(student, momentum=0.0)
        >>> teacher.network.weight.tolist()
        [[0.0, 0.0]]
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """Return the output of the copy."""
        return self.network(*inputs)

    def update(self, student: nn.Module, momentum: float) -> None:
        """Move towards the student: ``teacher = momentum * teacher + (1 - momentum) * student``.

        Args:
            student: of the architecture of the copy.
            momentum: 1 leaves the teacher as it is, 0 copies the student.
        """
        move_towards(self.network, student, momentum)
