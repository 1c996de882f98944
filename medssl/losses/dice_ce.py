"""The segmentation loss of supervised training: one class a voxel."""

from monai.losses import DiceCELoss as MonaiDiceCELoss
from torch import Tensor, nn
from torch.nn import functional as F


class DiceCELoss(nn.Module):
    """Sum of cross-entropy and soft Dice loss over the foreground classes and background, a scalar.

    Classes exclude each other (softmax). The background's logit is fixed at 0, so that a network has one logit a
    foreground class, as with `medssl.losses.dice_bce.DiceBCELoss`, and a voxel is background where none of them is
    above 0. The Dice term is summed over the batch, which nnU-Net (Isensee et al., 2021,
    https://doi.org/10.1038/s41592-020-01008-z) found to be steadier on small patches, and leaves background out.

    Example:
        >>> import torch
        >>> label = torch.tensor([[[[0, 1], [2, 0]]]])
        >>> sure = 40.0 * torch.nn.functional.one_hot(label[:, 0], 3).movedim(-1, 1)[:, 1:] - 20.0
        >>> round(DiceCELoss()(sure, label).item(), 4)
        0.0
    """

    def __init__(self) -> None:
        super().__init__()
        self.loss = MonaiDiceCELoss(
            include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5
        )

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss.

        Args:
            logits: shape ``(B, K, *spatial)``, channel ``k`` for class ``k + 1``.
            label: integer map of shape ``(B, 1, *spatial)``; 0 is background.
        """
        background = (0, 0) * (logits.dim() - 2) + (1, 0)
        return self.loss(F.pad(logits, background), label)
