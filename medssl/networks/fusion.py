"""One vector per image from several levels of its pyramid."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class GatedFusion(nn.Module):
    r"""One vector per image, shape ``(B, sum(level_channels))``: gated means of the levels of its pyramid.

    Each level is averaged over space to :math:`F_i`, weighted per channel by a learned :math:`P_i`, and
    concatenated: :math:`G_i = \sigma(F_i) \cdot P_i` (MatSSL, Nguyen et al., equation 1).

    Args:
        level_channels: channels of the levels that are fused, finest first; the coarsest ones of a longer pyramid.
        reference: True gates the other way round, :math:`G_i = \sigma(P_i) \cdot F_i`, as the authors' code does.

    Example:
        >>> fusion = GatedFusion((8, 16))
        >>> fusion([torch.zeros(2, 4, 8, 8), torch.zeros(2, 8, 4, 4), torch.zeros(2, 16, 2, 2)])[:, :3]
        tensor([[0.5000, 0.5000, 0.5000],
                [0.5000, 0.5000, 0.5000]], grad_fn=<SliceBackward0>)
    """

    def __init__(self, level_channels: Sequence[int], reference: bool = False) -> None:
        super().__init__()
        self.gates = nn.ParameterList(nn.Parameter(torch.ones(channels)) for channels in level_channels)
        self.reference = reference

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Return the vectors for a pyramid, finest first."""
        means = [level.flatten(2).mean(dim=2) for level in pyramid[-len(self.gates) :]]
        return torch.cat([self._gated(mean, gate) for mean, gate in zip(means, self.gates, strict=True)], dim=1)

    def _gated(self, mean: Tensor, gate: Tensor) -> Tensor:
        return torch.sigmoid(gate) * mean if self.reference else torch.sigmoid(mean) * gate
