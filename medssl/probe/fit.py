"""Fitting a linear head on kept features of voxels."""

from collections.abc import Sequence

import torch

from medssl.data.sampling import StepBatches
from medssl.losses.dice_bce import RowDiceBCELoss
from medssl.networks.heads import LinearHead
from medssl.networks.rows import LinearHeadOnRows
from medssl.probe.batches import RowsOfRandomPatch, prepare_rows
from medssl.probe.rows import VoxelRows


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
        cases: as from `medssl.probe.cache.FeatureCache.patches`.
        num_steps: of Adam.
        learning_rate: of Adam.
        patches_per_batch: of a step.
        seed: of the patches.

    Raises:
        ValueError: if there is no case.
        FloatingPointError: if a loss is not finite.

    Example:
        >>> import numpy as np
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
