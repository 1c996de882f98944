"""Supervised contrast: several positives for every anchor."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SupConLoss(nn.Module):
    r"""The mean supervised contrastive loss of embeddings, a scalar in float32.

    With :math:`s(a, b) = \langle a, b\rangle / \tau` of the normalised embeddings, an anchor :math:`z` with positives
    :math:`P` costs

    .. math:: -\frac{1}{|P|} \sum_{z^+ \in P} s(z, z^+) + \log \sum_{z' \neq z} \exp s(z, z'),

    averaged over the anchors that have a positive (Khosla et al., 2020, https://arxiv.org/abs/2004.11362, the loss with
    the sum outside of the logarithm). The public code of PCL and SuperCL multiplies it by :math:`\tau / 0.07`, which is
    left out here. The ``(N, N)`` similarity matrix is held in memory: N is a few thousand at most.

    Args:
        temperature: :math:`\tau`, above 0.

    Raises:
        ValueError: if the temperature is not above 0, there are fewer than two rows, or the positives do not fit.

    Example:
        >>> z = torch.eye(3)[[0, 0, 1, 1]]
        >>> good, bad = torch.tensor([5, 5, 8, 8]), torch.tensor([5, 8, 5, 8])
        >>> SupConLoss(0.1)(z, good) < SupConLoss(0.1)(z, bad)
        tensor(True)
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}.")
        self.temperature = temperature

    def forward(self, z: Tensor, positives: Tensor) -> Tensor:
        """Return the loss; 0 if no row has a positive.

        Args:
            z: embeddings, shape ``(N, C)``.
            positives: labels of shape ``(N,)``, rows with the same label being positives, or a bool mask of shape
                ``(N, N)`` whose row ``i`` says what row ``i`` is drawn to. No row is a positive of itself.
        """
        if z.dim() != 2 or len(z) < 2:
            raise ValueError(f"SupCon needs embeddings of shape (N, C) with N > 1, got {tuple(z.shape)}.")
        mask = positives[:, None] == positives if positives.dim() == 1 else positives
        if mask.shape != (len(z), len(z)) or mask.dtype != torch.bool:
            raise ValueError(
                f"{len(z)} embeddings need as many labels, or a bool mask of each with each; got positives of shape "
                f"{tuple(positives.shape)} and type {positives.dtype}."
            )
        with torch.autocast(z.device.type, enabled=False):
            units = F.normalize(z.float(), dim=1)
            similarity = (units @ units.T / self.temperature).fill_diagonal_(-torch.inf)
            mask = mask & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
            log_shares = similarity - similarity.logsumexp(1, keepdim=True)
            count = mask.sum(1)
            costs = -log_shares.masked_fill(~mask, 0).sum(1) / count.clamp(min=1)
            return costs.sum() / (count > 0).sum().clamp(min=1)


def supcon_collapse_value(num_rows: int) -> float:
    """Return the supervised contrastive loss of embeddings that are all equal: ``ln(N - 1)``.

    Args:
        num_rows: number of embeddings, N.

    Example:
        >>> round(supcon_collapse_value(50), 2)
        3.89
    """
    return math.log(num_rows - 1)
