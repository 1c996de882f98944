"""Cosine distance between predictions and targets."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CosineLoss(nn.Module):
    r"""The mean squared distance of unit embeddings, :math:`2 - 2 \cos(p, z)`, a scalar between 0 and 4.

    The regression loss of BYOL (Grill et al., 2020, https://arxiv.org/abs/2006.07733, equation 2). The target gets no
    gradient. Computed in float32, whatever autocast is set.

    Raises:
        ValueError: if the inputs are not of one shape ``(N, C)``.

    Example:
        >>> CosineLoss()(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
        tensor(2.)
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of embeddings of shape ``(N, C)`` each, of any length."""
        if prediction.shape != target.shape or prediction.dim() != 2:
            raise ValueError(
                f"Predictions and targets must have one shape (N, C), got {tuple(prediction.shape)} and "
                f"{tuple(target.shape)}."
            )
        with torch.autocast(prediction.device.type, enabled=False):
            cosine = F.cosine_similarity(prediction.float(), target.detach().float(), dim=1)
            return 2 - 2 * cosine.mean()
