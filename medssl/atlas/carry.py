"""The labels of some scans on the cells of another, where registration says they are."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medssl.atlas.fields import pooled, read_at, smoothed
from medssl.ops.warping import voxel_grid

_LEAST_PROBABILITY = 1e-3


def carried_logits(
    labels: Sequence[Tensor], positions: Sequence[Tensor], costs: Sequence[Tensor], factor: int, num_classes: int
) -> Tensor:
    """Logits of the foreground classes on the cells of a scan, shape ``(num_classes, *cells)``; background has 0.

    Where several scans carry their labels, each counts in every cell as far as it is alike there.

    Args:
        labels: of the scans that carry, in voxels, shape ``(1, *spatial)``.
        positions: of all cells in the cells of that scan, shape ``(*cells, 3)``.
        costs: how unlike the scans are in every cell, shape ``(*cells,)``.
        factor: voxels per cell along each axis.
        num_classes: without background.

    Example:
        >>> label = torch.tensor([[[[0, 0, 1, 1]]]])
        >>> here = torch.tensor([[[[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]])
        >>> carried_logits([label], [here], [torch.zeros(1, 1, 2)], factor=2, num_classes=1)[0, 0, 0].sign().tolist()
        [-1.0, 1.0]
    """
    shares = _shares(torch.stack(list(costs)))
    foreground = torch.stack(
        [
            sum(
                share * read_at(pooled((label == value).float(), factor), place)[0]
                for label, place, share in zip(labels, positions, shares, strict=True)
            )
            for value in range(1, 1 + num_classes)
        ]
    )
    background = 1 - foreground.sum(dim=0)
    return (foreground + _LEAST_PROBABILITY).log() - (background.clamp(min=0) + _LEAST_PROBABILITY).log()


def label_of_cells(logits: Tensor, size: Sequence[int], factor: int) -> Tensor:
    """Label map of the voxels of a scan, shape ``(1, *size)``, uint8: the class of the highest logit above 0.

    Args:
        logits: as `carried_logits` gives them.
        size: in voxels.
        factor: voxels per cell along each axis.

    Example:
        >>> label_of_cells(torch.tensor([[[[-1.0, 3.0]]]]), (1, 1, 4), factor=2).tolist()
        [[[[0, 0, 1, 1]]]]
    """
    places = (voxel_grid(size) - (factor - 1) / 2) / factor
    highest, label = torch.zeros(1, *size), torch.zeros(1, *size, dtype=torch.uint8)
    for value, channel in enumerate(logits, start=1):
        finer = read_at(channel[None], places)
        label.masked_fill_(finer > highest, value)
        torch.maximum(highest, finer, out=highest)
    return label


def _shares(costs: Tensor) -> Tensor:
    """Return how much each scan counts in every cell: a seventh where it is unlike by half the mean cost more."""
    return torch.softmax(-2 * smoothed(costs) / costs.mean().clamp(min=torch.finfo().tiny), dim=0)
