"""The segmentation loss of the probe and of fine-tuning."""

from monai.losses import DiceLoss
from monai.networks.utils import one_hot
from torch import Tensor, nn
from torch.nn import functional as F


class DiceBCELoss(nn.Module):
    """Give the sum of binary cross-entropy and soft Dice loss over the foreground classes, a scalar.

    Every class is a yes-or-no question of its own (sigmoid). The Dice term has squared denominators and a smoothing
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
