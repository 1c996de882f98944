"""InfoNCE over voxel embeddings."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class InfoNCELoss(nn.Module):
    r"""Give the mean InfoNCE loss of paired embeddings, a scalar.

    Row ``i`` of both inputs is a positive pair; all other rows of both are its negatives. With
    :math:`s(a, b) = \langle a, b\rangle / \tau` of the normalised embeddings, an anchor :math:`z` with partner
    :math:`z^+` costs

    .. math:: -s(z, z^+) + \log\Big(\exp s(z, z^+) + \sum_{z^-} \exp s(z, z^-)\Big),

    averaged over the 2N anchors of both views (Kats et al., 2024, equation 1; Chen et al., 2020). It is computed in
    float32 with log-sum-exp, under autocast too.

    Args:
        temperature: :math:`\tau`, above 0.

    Raises:
        ValueError: if the temperature is not above 0, the inputs differ in shape, or there are fewer than two pairs.

    Example:
        >>> z = torch.eye(4)
        >>> InfoNCELoss(temperature=0.1)(z, z) < InfoNCELoss(temperature=0.1)(z, z.roll(1, 0))
        tensor(True)
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}.")
        self.temperature = temperature

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of embeddings of shape ``(N, C)`` each."""
        if z1.shape != z2.shape or z1.dim() != 2 or z1.shape[0] < 2:
            raise ValueError(
                "InfoNCE needs two embeddings of one shape (N, C) with N > 1, "
                f"got {tuple(z1.shape)} and {tuple(z2.shape)}."
            )
        with torch.autocast(z1.device.type, enabled=False):
            z = F.normalize(torch.cat([z1, z2]).float(), dim=1)
            similarity = z @ z.T / self.temperature
            similarity.fill_diagonal_(-torch.inf)
            positive = torch.arange(len(z), device=z.device).roll(len(z1))
            return F.cross_entropy(similarity, positive)


def collapse_value(num_pairs: int) -> float:
    """Give the InfoNCE loss of embeddings that are all equal: ``ln(2 N - 1)``.

    A loss that stays here has collapsed, whatever the temperature.

    Args:
        num_pairs: number of positive pairs, N.

    Example:
        >>> round(collapse_value(10240), 2)
        9.93
    """
    return math.log(2 * num_pairs - 1)
