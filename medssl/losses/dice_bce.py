"""The segmentation loss of the probe and of fine-tuning, on whole patches or on a sample of their voxels."""

from typing import NamedTuple

import torch
from monai.losses import DiceLoss
from monai.networks.utils import one_hot
from torch import Tensor, nn
from torch.nn import functional as F


class DiceBCELoss(nn.Module):
    """The sum of binary cross-entropy and soft Dice loss over the foreground classes, a scalar.

    Every class is a yes-or-no question (sigmoid). The Dice term has squared denominators and a smoothing
    of 1 and is averaged over classes and patches, as in vox2vec (Goncharov et al., 2023) and Kats et al. (2024).

    Example:
        >>> import torch
        >>> logits = torch.full((1, 2, 4, 4), -20.0)
        >>> round(DiceBCELoss()(logits, torch.zeros(1, 1, 4, 4)).item(), 4)
        0.0
    """

    def __init__(self) -> None:
        super().__init__()
        self.dice = DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=1.0, smooth_dr=1.0)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss.

        Args:
            logits: shape ``(B, K, *spatial)``, channel ``k`` for class ``k + 1``.
            label: integer map of shape ``(B, 1, *spatial)``; 0 is background.
        """
        target = one_hot(label, logits.shape[1] + 1)[:, 1:].to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, target) + self.dice(logits, target)


class RowTargets(NamedTuple):
    """The targets of rows of features: voxels of several patches, one patch after another.

    Attributes:
        label: integer class of every row, 0 for background, shape ``(N,)``.
        weight: number of voxels of its patch that each row stands for, shape ``(N,)``.
        counts: number of rows of each patch.
    """

    label: Tensor
    weight: Tensor
    counts: list[int]


class RowDiceBCELoss(nn.Module):
    """An estimate of `DiceBCELoss` from a sample of the voxels of each patch, a scalar.

    Sums over the voxels of a patch become weighted sums over its rows. With all voxels of the patches as rows, at
    weight 1, the two are equal.

    Example:
        >>> import torch
        >>> label = torch.tensor([0, 1, 2, 0])
        >>> logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
        >>> dense = DiceBCELoss()(logits.T[None], label[None, None])
        >>> torch.allclose(RowDiceBCELoss()(logits, RowTargets(label, torch.ones(4), [4])), dense)
        True
    """

    def forward(self, logits: Tensor, targets: RowTargets) -> Tensor:
        """Return the loss of logits of shape ``(N, K)``, column ``k`` for class ``k + 1``."""
        target = one_hot(targets.label[:, None], logits.shape[1] + 1)[:, 1:].to(logits.dtype)
        weight = targets.weight[:, None]
        bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        probability = logits.sigmoid()
        sums = [
            _patch_sums(weight * values, targets.counts)
            for values in (probability * target, probability.square(), target)
        ]
        dice = 1 - (2 * sums[0] + 1) / (sums[1] + sums[2] + 1)
        return (weight * bce).sum() / (weight.sum() * logits.shape[1]) + dice.mean()


def _patch_sums(values: Tensor, counts: list[int]) -> Tensor:
    return torch.stack([part.sum(dim=0) for part in values.split(counts)])
