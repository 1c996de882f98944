"""Which weights of a module a run saves in the end: its own, or their moving average."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ignite.engine import Engine
    from torch import nn


def save_instead(engine: Engine, module: nn.Module, average: nn.Module) -> None:
    """Let a run save the average of a module where it would save the module.

    Args:
        engine: the trainer.
        module: whose weights are trained.
        average: a module of the same structure.
    """
    engine.saved_instead = {**getattr(engine, "saved_instead", {}), module: average}


def saved_module(engine: Engine, module: nn.Module) -> nn.Module:
    """Return what a run saves of a module: the average set by `save_instead`, or the module itself.

    Args:
        engine: the trainer.
        module: whose weights are trained.

    Example:
        >>> from ignite.engine import Engine
        >>> from torch import nn
        >>> engine, module, average = Engine(lambda engine, batch: None), nn.Linear(1, 1), nn.Linear(1, 1)
        >>> saved_module(engine, module) is module
        True
        >>> save_instead(engine, module, average)
        >>> saved_module(engine, module) is average
        True
    """
    return getattr(engine, "saved_instead", {}).get(module, module)
