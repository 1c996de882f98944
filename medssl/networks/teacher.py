"""A teacher that follows its student."""

import copy
from typing import Any

import torch
from torch import nn

from medssl.ops.momentum import move_towards


class Teacher(nn.Module):
    """A copy of a network that follows it slowly, and gives no gradients.

    The target network of BYOL (Grill et al., 2020, https://arxiv.org/abs/2006.07733, section 3.1) and the key encoder
    of MoCo (He et al., 2020, https://arxiv.org/abs/1911.05722, equation 2).

    Args:
        student: the network, copied as it is now, or several modules that make it up one after another. They stay
            members of the method: a module that held them together would give every weight a second name.

    Example:
        >>> student = nn.Linear(2, 1)
        >>> teacher = Teacher(student)
        >>> torch.nn.init.zeros_(student.weight).sum().item()
        0.0
        >>> teacher.update(student, momentum=0.0)
        >>> teacher.network.weight.tolist()
        [[0.0, 0.0]]
    """

    def __init__(self, *student: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(_joined(student)).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """Return the output of the copy."""
        return self.network(*inputs)

    def update(self, *student: nn.Module, momentum: float) -> None:
        """Move towards the student: ``teacher = momentum * teacher + (1 - momentum) * student``.

        Args:
            student: the modules that the teacher was made of.
            momentum: 1 leaves the teacher as it is, 0 copies the student.
        """
        move_towards(self.network, _joined(student), momentum)


def _joined(modules: tuple[nn.Module, ...]) -> nn.Module:
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)
