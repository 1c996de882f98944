"""Variance, invariance and covariance of two embeddings."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.ops.distributed import gather_rows


class VICRegLoss(nn.Module):
    r"""The loss of VICReg for paired embeddings, a scalar: the weighted sum of three terms.

    .. math:: \lambda\, s(Z, Z') + \mu\, \tfrac{1}{2}[v(Z) + v(Z')] + \nu\, [c(Z) + c(Z')]

    with the mean squared difference :math:`s`, `variance_term` :math:`v` and `covariance_term` :math:`c` (Bardes et
    al., 2022, https://arxiv.org/abs/2105.04906, equations 1 to 6). As in the authors' code, and not in equation 6, the
    variances are averaged over the two views while the covariances are added, and :math:`s` is a mean over the channels
    too; 25/25/1 belong to that. Computed in float32 over the rows of all ranks, whatever autocast is set.

    Args:
        invariance: :math:`\lambda`.
        variance: :math:`\mu`.
        covariance: :math:`\nu`.

    Example:
        >>> loss, z = VICRegLoss(), torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> round(loss(z, z.flip(1)).item(), 3)
        50.0
        >>> {name: round(term.item(), 3) for name, term in loss.terms(z, z.flip(1)).items()}
        {'invariance': 2.0, 'variance': 0.0, 'covariance': 0.0}
    """

    def __init__(self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> None:
        super().__init__()
        self.invariance = invariance
        self.variance = variance
        self.covariance = covariance

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of embeddings of shape ``(N, C)`` each; row ``i`` of both is a pair.

        Raises:
            ValueError: if the shapes differ, or there are fewer than two pairs.
        """
        return self.weighted_sum(self.terms(z1, z2))

    def terms(self, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        """Return ``invariance``, ``variance`` and ``covariance``, unweighted.

        Raises:
            ValueError: if the shapes differ, or there are fewer than two pairs.
        """
        if z1.shape != z2.shape or z1.dim() != 2:
            raise ValueError(f"VICReg needs two embeddings of one shape, got {tuple(z1.shape)} and {tuple(z2.shape)}.")
        with torch.autocast(z1.device.type, enabled=False):
            z1, z2 = gather_rows(torch.cat([z1, z2], dim=1).float()).chunk(2, dim=1)
            if len(z1) < 2:
                raise ValueError("VICReg needs at least two pairs; set pairs_per_batch to 2 or more.")
            invariance = F.mse_loss(z1, z2)
            variance = (variance_term(z1) + variance_term(z2)) / 2
            covariance = covariance_term(z1) + covariance_term(z2)
        return {"invariance": invariance, "variance": variance, "covariance": covariance}

    def weighted_sum(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the loss for its `terms`."""
        weighted = self.invariance * terms["invariance"] + self.variance * terms["variance"]
        return weighted + self.covariance * terms["covariance"]


def variance_term(z: Tensor, eps: float = 1e-4) -> Tensor:
    """Mean over channels of how far the standard deviation over the batch stays below 1 (equation 1).

    Args:
        z: embeddings, shape ``(N, C)``.
        eps: added to the variance, so that the root has a gradient at 0.

    Example:
        >>> variance_term(torch.zeros(4, 2)).item(), variance_term(torch.tensor([[-2.0], [2.0]])).item()
        (0.99..., 0.0)
    """
    return F.relu(1 - torch.sqrt(z.var(dim=0) + eps)).mean()


def covariance_term(z: Tensor) -> Tensor:
    """Sum of the squared covariances between different channels, over their number (equations 3 and 4).

    Args:
        z: embeddings, shape ``(N, C)``.

    Example:
        >>> covariance_term(torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).item()
        4.0
    """
    count, channels = z.shape
    centred = (z - z.mean(dim=0)) / (count - 1) ** 0.5
    variances = centred.square().sum(dim=0)
    # The products of the rows have the norm of those of the columns, and with fewer rows they are far fewer.
    products = centred @ centred.T if count < channels else centred.T @ centred
    return (products.square().sum() - variances.square().sum()) / channels
