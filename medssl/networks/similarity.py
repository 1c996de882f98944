"""The similarity of every voxel to one voxel, by the features of a backbone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.networks.backbone import Backbone
from medssl.ops.pyramid import crop_like, gather_levels


class PointSimilarity(nn.Module):
    """The similarity, in [-1, 1], of every voxel to one voxel: the mean over levels of the cosine of the features.

    After Pix2Rep (Seince et al., "Dense self-supervised learning for medical image segmentation", MIDL 2024), figure 2,
    on a pyramid: every level counts the same, however long its features are. The cosine of a level is taken on its own
    grid and then upsampled (nearest), which gives the same and is cheaper.

    Args:
        backbone: maps an image to a feature pyramid, finest first.
        anchors: features of the voxel at each level, each of shape ``(C_i,)``, from `anchor_features`.

    Example:
        >>> from medssl.networks.fpn import FPN
        >>> backbone, image = FPN(spatial_dims=2, base_channels=4, num_levels=2).eval(), torch.rand(1, 1, 8, 8)
        >>> similarity = PointSimilarity(backbone, anchor_features(backbone, image, (3, 5)))(image)
        >>> similarity.shape, round(similarity[0, 0, 3, 5].item(), 4)
        (torch.Size([1, 1, 8, 8]), 1.0)
    """

    def __init__(self, backbone: Backbone, anchors: Sequence[Tensor]) -> None:
        super().__init__()
        self.backbone = backbone
        self.anchors = list(anchors)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return the map, of shape ``(B, 1, *spatial)``, for images ``(B, C, *spatial)``."""
        pyramid = self.backbone(x)
        total = torch.zeros_like(x[:, :1])
        for stride, features, anchor in zip(self.backbone.strides, pyramid, self.anchors, strict=True):
            vector = anchor.reshape(1, -1, *[1] * (features.ndim - 2))
            cosine = F.cosine_similarity(features, vector, dim=1).unsqueeze(1)
            if stride > 1:
                cosine = crop_like(F.interpolate(cosine, scale_factor=float(stride), mode="nearest"), total)
            total += cosine
        return total / len(pyramid)


@torch.no_grad()
def anchor_features(backbone: Backbone, image: Tensor, voxel: Sequence[int]) -> list[Tensor]:
    """Return the features of one voxel at each level, finest first, each of shape ``(C_i,)``.

    Args:
        backbone: maps an image to a feature pyramid, finest first.
        image: shape ``(1, C, *spatial)``.
        voxel: its index along each axis.
    """
    rows = gather_levels(backbone(image), torch.tensor([[0, *voxel]], device=image.device), backbone.strides)
    return [row[0] for row in rows]
