"""From a pyramid to one vector per image."""

from torch import Tensor, nn


class GlobalMean(nn.Module):
    """One vector per image, shape ``(B, C)``: the mean over space of the coarsest level of its pyramid.

    Example:
        >>> import torch
        >>> GlobalMean()([torch.zeros(2, 4, 8, 8), torch.ones(2, 16, 4, 4)]).shape
        torch.Size([2, 16])
    """

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Return the vectors for a pyramid, finest first."""
        return pyramid[-1].flatten(2).mean(dim=2)
