"""A backbone that also says where in the body a voxel lies."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.networks.backbone import Backbone, require_backbone


class PositionedBackbone(nn.Module):
    """Maps an image with coordinates of its voxels to the pyramid of a backbone, with position in the coarsest level.

    The last channels of the input are coordinates from -0.5 to 0.5, as `monai.transforms.AddCoordinateChannelsd` adds
    them: of the whole scan, so that a window says where in the scan it lies. Their means over a cell, scaled to -1..1,
    and the products of two of them follow the features of the coarsest level. With these a linear head can prefer a
    region of the body for a class, as wide and as slanted as the labels say (a Gaussian, in a softmax).

    Args:
        backbone: of the other channels. Its weights are those that pretrained weights are loaded into.
        num_coordinates: channels at the end of the input that are coordinates.

    Example:
        >>> from medssl.networks.fpn import FPN
        >>> network = PositionedBackbone(FPN(spatial_dims=2, base_channels=4, num_levels=2), num_coordinates=2)
        >>> network.level_channels
        (4, 13)
        >>> [tuple(level.shape) for level in network(torch.zeros(1, 1 + 2, 8, 8))]
        [(1, 4, 8, 8), (1, 13, 4, 4)]
    """

    def __init__(self, backbone: Backbone, num_coordinates: int = 2) -> None:
        super().__init__()
        require_backbone(backbone)
        self.backbone = backbone
        self.num_coordinates = num_coordinates
        self.spatial_dims = backbone.spatial_dims
        self.strides: Sequence[int] = tuple(backbone.strides)
        *finer, coarsest = backbone.level_channels
        factors = torch.triu_indices(num_coordinates, num_coordinates)
        self.register_buffer("factors", factors, persistent=False)
        self.level_channels: Sequence[int] = (*finer, coarsest + num_coordinates + factors.shape[1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of ``x`` of shape ``(B, C + num_coordinates, *spatial)``, finest first."""
        num_channels = x.shape[1] - self.num_coordinates
        pyramid = self.backbone(x[:, :num_channels])
        coarsest = pyramid[-1]
        position = 2 * F.interpolate(x[:, num_channels:], size=coarsest.shape[2:], mode="area")
        products = position[:, self.factors[0]] * position[:, self.factors[1]]
        levels = pyramid[:-1]
        levels.append(torch.cat([coarsest, position.to(coarsest.dtype), products.to(coarsest.dtype)], dim=1))
        return levels


def pretrained_part(backbone: nn.Module) -> nn.Module:
    """Return the network that pretrained weights belong to: the backbone itself, or the one inside."""
    return backbone.backbone if isinstance(backbone, PositionedBackbone) else backbone


def num_coordinates(backbone: Backbone | None) -> int:
    """Return how many channels a network takes besides those of the image."""
    return backbone.num_coordinates if isinstance(backbone, PositionedBackbone) else 0
