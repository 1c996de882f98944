"""The decoder of a U-Net as a segmentation head."""

from collections.abc import Sequence

from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from medssl.networks.unet import UNetUps


class UNetDecoder(nn.Module):
    """The decoder of a U-Net: logits of shape ``(B, num_classes, *spatial)``, at the finest level's size.

    From the coarsest level up: a transposed convolution, concatenation with the finer level, two convolutions
    (Ronneberger et al., 2015, https://arxiv.org/abs/1505.04597); then a linear map to classes.

    Args:
        spatial_dims: 2 or 3.
        level_channels: channels of each level of the pyramid, finest first.
        num_classes: number of foreground classes.

    Example:
        >>> import torch
        >>> head = UNetDecoder(2, level_channels=(4, 8), num_classes=3)
        >>> head([torch.zeros(1, 4, 5, 5), torch.zeros(1, 8, 3, 3)]).shape
        torch.Size([1, 3, 5, 5])
    """

    def __init__(self, spatial_dims: int, level_channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.ups = UNetUps(spatial_dims, level_channels)
        self.classify = Conv[Conv.CONV, spatial_dims](level_channels[0], num_classes, 1)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Return the logits for a pyramid, finest first."""
        return self.classify(self.ups(pyramid)[0])
