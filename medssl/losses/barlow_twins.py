"""Cross-correlation of two embeddings, driven to the identity."""

import torch
from torch import Tensor, nn

from medssl.ops.distributed import gather_rows

# The one of torch's batch norm.
_EPSILON = 1e-5


class BarlowTwinsLoss(nn.Module):
    r"""The loss of Barlow Twins for paired embeddings, a scalar: the weighted sum of two terms.

    .. math:: \sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2

    with the `cross_correlation` :math:`C` (Zbontar et al., 2021, https://arxiv.org/abs/2103.03230, equations 1 and 2).
    Computed in float32 over the rows of all ranks, whatever autocast is set. The value of embeddings that are all equal
    is the number of channels.

    Args:
        redundancy: :math:`\lambda`.

    Example:
        >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> loss = BarlowTwinsLoss()
        >>> round(loss(z, z.flip(1)).item(), 3)
        2.01
        >>> {name: round(term.item(), 3) for name, term in loss.terms(z, z.flip(1)).items()}
        {'invariance': 2.0, 'redundancy': 2.0}
    """

    def __init__(self, redundancy: float = 5e-3) -> None:
        super().__init__()
        self.redundancy = redundancy

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of embeddings of shape ``(N, C)`` each; row ``i`` of both is a pair.

        Raises:
            ValueError: if the shapes differ, or there are fewer than two pairs.
        """
        return self.weighted_sum(self.terms(z1, z2))

    def terms(self, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        """Return ``invariance`` and ``redundancy``, unweighted.

        Raises:
            ValueError: if the shapes differ, or there are fewer than two pairs.
        """
        if z1.shape != z2.shape or z1.dim() != 2:
            raise ValueError(
                f"Barlow Twins needs two embeddings of one shape (N, C), got {tuple(z1.shape)} and {tuple(z2.shape)}."
            )
        with torch.autocast(z1.device.type, enabled=False):
            z1, z2 = gather_rows(torch.cat([z1, z2], dim=1).float()).chunk(2, dim=1)
            if len(z1) < 2:
                raise ValueError("Barlow Twins needs at least two pairs; raise pairs_per_batch or num_voxels.")
            correlation = cross_correlation(z1, z2)
            diagonal = correlation.diagonal()
            invariance = (1 - diagonal).square().sum()
            redundancy = correlation.square().sum() - diagonal.square().sum()
        return {"invariance": invariance, "redundancy": redundancy}

    def weighted_sum(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the loss for its `terms`."""
        return terms["invariance"] + self.redundancy * terms["redundancy"]


def cross_correlation(z1: Tensor, z2: Tensor) -> Tensor:
    """Correlation of every channel of one embedding with every channel of the other, shape ``(C, C)``.

    Args:
        z1: embeddings, shape ``(N, C)``.
        z2: of the same shape; row i is the partner of row i.

    Example:
        >>> z = torch.tensor([[1.0, 2.0], [-1.0, 4.0]])
        >>> cross_correlation(z, z).round(decimals=3)
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    return _standardized(z1).T @ _standardized(z2) / len(z1)


def _standardized(z: Tensor) -> Tensor:
    variance, mean = torch.var_mean(z, dim=0, correction=0)
    return (z - mean) * (variance + _EPSILON).rsqrt()
