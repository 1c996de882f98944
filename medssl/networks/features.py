"""A backbone's features as one map."""

from torch import Tensor, nn
from torch.nn import functional as F

from medssl.networks.backbone import Backbone


class DenseFeatures(nn.Module):
    """A unit feature vector for every voxel, shape ``(B, C_0, *spatial)``: the finest level of the pyramid, repeated
    where it is coarser than the image.

    The dot product of two voxels' vectors is their cosine similarity. Parameters have the names they have in
    `SegmentationNetwork`, so that weights move between the two by name.

    Args:
        backbone: maps an image to a feature pyramid, finest first.

    Example:
        >>> import torch
        >>> from medssl.networks.fpn import FPN
        >>> features = DenseFeatures(FPN(spatial_dims=2, base_channels=4, num_levels=2))(torch.rand(1, 1, 8, 8))
        >>> features.shape, torch.allclose(features.norm(dim=1), torch.ones(1, 8, 8))
        (torch.Size([1, 4, 8, 8]), True)
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of ``x``."""
        finest = self.backbone(x)[0]
        if finest.shape[2:] != x.shape[2:]:
            finest = F.interpolate(finest, size=x.shape[2:], mode="nearest")
        return F.normalize(finest, dim=1)
