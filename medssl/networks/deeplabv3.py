"""DeepLabV3: atrous spatial pyramid pooling, as a segmentation head."""

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Conv, Pool
from torch import Tensor, nn
from torch.nn import functional as F

OUTPUT_STRIDE = 16
_LINEAR = {2: "bilinear", 3: "trilinear"}


def _convolution(spatial_dims: int, in_channels: int, out_channels: int, rate: int = 0) -> Convolution:
    """Return a 3-wide convolution with a dilation rate, or a 1-wide one for rate 0, then batch norm and ReLU."""
    return Convolution(
        spatial_dims,
        in_channels,
        out_channels,
        kernel_size=3 if rate else 1,
        dilation=max(rate, 1),
        act="relu",
        norm="batch",
        bias=False,
    )


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: features that see several scales at once, at the same size.

    In parallel a 1-wide convolution, a 3-wide one per dilation rate, and the mean over the image; then a 1-wide
    convolution of all of them. Each has batch norm and ReLU (Chen et al., 2017, https://arxiv.org/abs/1706.05587,
    section 3.3).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the features.
        channels: channels of each branch and of the result.
        rates: dilation rates.

    Raises:
        ValueError: in training with a batch of one image, because batch norm cannot normalise its mean.

    Example:
        >>> ASPP(2, in_channels=8, channels=4)(torch.zeros(2, 8, 5, 5)).shape
        torch.Size([2, 4, 5, 5])
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, channels: int = 256, rates: Sequence[int] = (6, 12, 18)
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_convolution(spatial_dims, in_channels, channels, rate) for rate in (0, *rates))
        self.image_pooling = nn.Sequential(
            Pool[Pool.ADAPTIVEAVG, spatial_dims](1), _convolution(spatial_dims, in_channels, channels)
        )
        self.project = _convolution(spatial_dims, (len(rates) + 2) * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features for ``x`` of shape ``(B, C, *spatial)``."""
        if self.training and x.shape[0] == 1:
            raise ValueError("DeepLabV3 pools over the image before a batch norm: set patches_per_batch to 2 or more.")
        parts: list[Tensor] = []
        for branch in self.branches:
            parts.append(branch(x))
        # Linear upsampling of a single cell is that cell everywhere.
        parts.append(self.image_pooling(x).expand_as(parts[0]))
        return self.project(torch.cat(parts, dim=1))


class DeepLabV3Head(nn.Module):
    """The head of DeepLabV3: logits of shape ``(B, num_classes, *spatial)``, at the finest level's size.

    `ASPP` and a linear map to classes on one level, then linear upsampling (Chen et al., 2017,
    https://arxiv.org/abs/1706.05587). The level is the coarsest whose stride is at most 16, the paper's output stride.
    The paper dilates the backbone's last stage, which would have stride 32; here the backbone keeps the layers it was
    pretrained with, so its levels beyond stride 16 are not used and get no gradient.

    Args:
        spatial_dims: 2 or 3.
        level_channels: channels of each level of the pyramid, finest first.
        num_classes: number of foreground classes.
        strides: voxels of the image per cell of each level.
        channels: of the ASPP.
        rates: dilation rates of the ASPP.

    Attributes:
        level: index of the level that is used.

    Raises:
        ValueError: if the finest level is coarser than stride 16.

    Example:
        >>> head = DeepLabV3Head(2, level_channels=(4, 8), num_classes=3, strides=(1, 2), channels=4)
        >>> head([torch.zeros(2, 4, 5, 5), torch.zeros(2, 8, 3, 3)]).shape
        torch.Size([2, 3, 5, 5])
    """

    def __init__(
        self,
        spatial_dims: int,
        level_channels: Sequence[int],
        num_classes: int,
        strides: Sequence[int],
        channels: int = 256,
        rates: Sequence[int] = (6, 12, 18),
    ) -> None:
        super().__init__()
        if strides[0] > OUTPUT_STRIDE:
            raise ValueError(f"DeepLabV3 needs a level of stride {OUTPUT_STRIDE} or finer, got strides {strides}.")
        self.level = sum(stride <= OUTPUT_STRIDE for stride in strides) - 1
        self.mode = _LINEAR[spatial_dims]
        self.aspp = ASPP(spatial_dims, level_channels[self.level], channels, rates)
        self.classify = Conv[Conv.CONV, spatial_dims](channels, num_classes, 1)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Return the logits for a pyramid, finest first."""
        logits = self.classify(self.aspp(pyramid[self.level]))
        return F.interpolate(logits, size=pyramid[0].shape[2:], mode=self.mode, align_corners=False)
