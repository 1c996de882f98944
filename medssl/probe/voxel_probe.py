"""Fitting a linear head on kept features of voxels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from torch import Tensor

from medssl.data.sampling import StepBatches
from medssl.losses.dice_bce import RowDiceBCELoss, RowTargets
from medssl.networks.heads import LinearHead
from medssl.networks.rows import LinearHeadOnRows
from medssl.probe.voxel_features import RowsOfRandomPatch, VoxelRows


def prepare_rows(
    batch: dict[str, Any], device: torch.device, non_blocking: bool, **_: Any
) -> tuple[Tensor, RowTargets, tuple[Tensor], dict[str, Any]]:
    """Give the features of all rows of a batch, as float32 on the device, what they should be, and their weights."""
    features, label, weight = (
        torch.cat([torch.as_tensor(np.asarray(part)) for part in batch[key]]).to(device, non_blocking=non_blocking)
        for key in ("features", "label", "weight")
    )
    targets = RowTargets(label, weight.float(), [len(part) for part in batch["label"]])
    return features.float(), targets, (targets.weight,), {}


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


def fit_linear_probe(
    head: LinearHead,
    cases: Sequence[VoxelRows],
    num_steps: int,
    learning_rate: float,
    patches_per_batch: int = 7,
    seed: int = 0,
) -> LinearHead:
    """Return a head fitted on kept features, in evaluation mode, as the recipe ``cached_probe`` fits it.

    Args:
        head: fitted in place.
        cases: as from `medssl.probe.features.FeatureCache.patches`.
        num_steps: of Adam.
        learning_rate: of Adam.
        patches_per_batch: of a step.
        seed: of the patches.

    Raises:
        ValueError: if there is no case.
        FloatingPointError: if a loss is not finite.

    Example:
        >>> rows = VoxelRows(np.array([[-1.0], [1.0]]), np.array([0, 1]), np.ones(2), np.array([2]))
        >>> head = fit_linear_probe(LinearHead(2, [1], num_classes=1), [rows], num_steps=200, learning_rate=0.1)
        >>> (LinearHeadOnRows(head)(torch.tensor([[-1.0], [1.0]])) > 0).tolist()
        [[False], [True]]
    """
    volumes = [{"case": f"case {number}", "rows": rows} for number, rows in enumerate(cases)]
    batches = StepBatches(volumes, RowsOfRandomPatch(), seed, patches_per_batch, min(len(cases), patches_per_batch))
    network = LinearHeadOnRows(head).train()
    optimizer = torch.optim.Adam(head.parameters(), lr=learning_rate)
    loss_function = RowDiceBCELoss()
    device = head.convs[-1].weight.device
    for step in range(num_steps):
        rows, targets, weights, _ = prepare_rows(batches[step], device, non_blocking=False)
        optimizer.zero_grad()
        loss = loss_function(network(rows, *weights), targets)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"The loss of step {step + 1} is {loss.item()}; lower the learning rate.")
        loss.backward()
        optimizer.step()
    return head.eval()
