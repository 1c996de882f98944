"""Dice of a probe, estimated from the rows of the cases."""

from collections.abc import Sequence

import numpy as np
import torch
from ignite.metrics import Metric
from torch import Tensor

from medssl.losses.dice_bce import RowTargets
from medssl.networks.heads import LinearHead
from medssl.networks.rows import LinearHeadOnRows
from medssl.probe.rows import VoxelRows


class RowDice(Metric):
    """Mean Dice over cases and classes, estimated from the rows of the cases.

    As MONAI's ``MeanDice``: classes that are absent in the reference do not count, and the mean over classes is taken
    before that over cases.

    Example:
        >>> metric = RowDice()
        >>> targets = RowTargets(torch.tensor([0, 1]), torch.tensor([6.0, 2.0]), [2])
        >>> metric.update((torch.tensor([[1.0], [1.0]]), targets))
        >>> round(metric.compute(), 3)
        0.4
    """

    required_output_keys = ("pred", "label")

    def reset(self) -> None:
        """Forget all cases."""
        self._means: list[float] = []

    def update(self, output: tuple[Tensor, RowTargets]) -> None:
        """Add the cases of a batch: logits of shape ``(N, K)`` and what they should be."""
        logits, targets = output
        highest, channel = logits.max(dim=1)
        predicted = torch.where(highest > 0, channel + 1, 0)
        for parts in zip(*(x.split(targets.counts) for x in (predicted, *targets[:2])), strict=True):
            self._means.append(float(dice_of_classes(*parts, num_classes=logits.shape[1]).nanmean()))

    def compute(self) -> float:
        """Return the mean, NaN if no class is in any case."""
        means = np.array(self._means)
        return float(means[~np.isnan(means)].mean()) if not np.isnan(means).all() else float("nan")


def dice_of_classes(predicted: Tensor, label: Tensor, weight: Tensor, num_classes: int) -> Tensor:
    """Return the Dice of every foreground class of a case from its rows, shape ``(num_classes,)``; NaN where absent.

    Args:
        predicted: class of every row, 0 is background.
        label: class that it should be.
        weight: number of voxels that it stands for.
        num_classes: number of foreground classes.

    Example:
        >>> dice_of_classes(torch.tensor([1, 1]), torch.tensor([0, 1]), torch.tensor([6.0, 2.0]), num_classes=2)
        tensor([0.4000,    nan], dtype=torch.float64)
    """
    size = num_classes + 1
    weight = weight.double()
    hits = torch.bincount(label[predicted == label], weight[predicted == label], size)
    sizes = torch.bincount(predicted, weight, size) + torch.bincount(label, weight, size)
    present = torch.bincount(label, minlength=size) > 0
    return torch.where(present, 2 * hits / sizes, torch.nan)[1:]


@torch.no_grad()
def head_dice(head: LinearHead, cases: Sequence[VoxelRows], class_names: Sequence[str]) -> dict[str, float | None]:
    """Return the Dice of every class, averaged over the cases that show it, by its name; None where none does.

    Args:
        head: in evaluation mode.
        cases: rows of whole volumes.
        class_names: of the foreground classes.
    """
    network = LinearHeadOnRows(head.eval())
    device = head.convs[-1].weight.device
    table = []
    for rows in cases:
        highest, channel = network(torch.from_numpy(rows.features.astype(np.float32)).to(device)).cpu().max(dim=1)
        predicted = torch.where(highest > 0, channel + 1, 0)
        parts = predicted, torch.from_numpy(rows.labels), torch.from_numpy(rows.weights)
        table.append(dice_of_classes(*parts, len(class_names)))
    means = torch.stack(table).nanmean(dim=0).tolist()
    return {name: None if np.isnan(mean) else round(mean, 4) for name, mean in zip(class_names, means, strict=True)}
