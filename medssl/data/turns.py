"""Batches of several sources in turn."""

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset


class TakingTurns(Dataset):
    """The batch of every training step, from each of several sources in turn.

    Like the batches of the sources, it is a pure function of the step.

    Args:
        sources: batches by step, such as `medssl.data.sampling.StepBatches`.

    Example:
        >>> batches = TakingTurns([["scan 0", "scan 1"], ["synthetic 0", "synthetic 1"]])
        >>> [batches[step] for step in range(4)]
        ['scan 0', 'synthetic 0', 'scan 1', 'synthetic 1']
    """

    def __init__(self, sources: Sequence[Sequence[dict[str, Any]]]) -> None:
        self.sources = sources

    def __getitem__(self, step: int) -> dict[str, Any]:
        turn, source = divmod(step, len(self.sources))
        return self.sources[source][turn]
