"""MONAI's residual network as a feature pyramid."""

import monai.networks.nets.resnet as monai_resnet
from torch import Tensor

_STAGES = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_BOTTLENECKS = (50,)


class ResNet(monai_resnet.ResNet):
    """A residual network: the feature maps of its stem and its four stages, finest level first.

    The network of He et al. (2016, https://arxiv.org/abs/1512.03385) from MONAI's blocks, in 2D and 3D. A level of
    stride ``s`` has the size ``ceil(size / s)``. In 2D its state dict has the names and shapes of torchvision's
    ``resnet18``, ``resnet34`` and ``resnet50``, without the classifier.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        depth: 10, 18, 34 or 50.
        base_channels: channels of the stem; 64 in the paper.

    Attributes:
        depth: as given.
        first_centres: 0 for each level, because every layer with a stride is padded so that its first output is
            centred on its first input.

    Raises:
        ValueError: if `depth` is none of these.

    Example:
        >>> import torch
        >>> backbone = ResNet(spatial_dims=2, depth=18)
        >>> [tuple(level.shape[1:]) for level in backbone(torch.zeros(1, 1, 64, 96))]
        [(64, 32, 48), (64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3)]
    """

    def __init__(self, spatial_dims: int = 2, in_channels: int = 1, depth: int = 18, base_channels: int = 64) -> None:
        if depth not in _STAGES:
            raise ValueError(f"depth must be one of {', '.join(map(str, _STAGES))}, got {depth}.")
        widths = [base_channels * 2**i for i in range(4)]
        super().__init__(
            block="bottleneck" if depth in _BOTTLENECKS else "basic",
            layers=list(_STAGES[depth]),
            block_inplanes=widths,
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        expansion = 4 if depth in _BOTTLENECKS else 1
        self.spatial_dims = spatial_dims
        self.depth = depth
        self.level_channels = (base_channels, *(width * expansion for width in widths))
        self.strides = (2, 4, 8, 16, 32)
        self.first_centres = (0.0,) * len(self.strides)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of ``x`` of shape ``(B, C, *spatial)``, finest first."""
        stem = self.act(self.bn1(self.conv1(x)))
        level1 = self.layer1(self.maxpool(stem))
        level2 = self.layer2(level1)
        level3 = self.layer3(level2)
        return [stem, level1, level2, level3, self.layer4(level3)]
