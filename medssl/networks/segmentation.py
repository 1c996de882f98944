"""A backbone and a head as one segmentation network."""

from torch import Tensor, nn
from torch.nn import functional as F

from medssl.networks.backbone import Backbone, require_backbone


class SegmentationNetwork(nn.Module):
    """Maps images of shape ``(B, C, *spatial)`` to logits of shape ``(B, num_classes, *spatial)``.

    One logit per foreground class (sigmoid, no background channel). If the finest level of the backbone is coarser than
    the image, the logits are interpolated linearly to the size of the image.

    Args:
        backbone: maps an image to a feature pyramid, finest first.
        head: maps a pyramid to logits.
        frozen: True trains the head alone; the backbone then stays in evaluation mode, batch-norm statistics included,
            even when `train` is called.

    Example:
        >>> import torch
        >>> from medssl.networks.fpn import FPN
        >>> from medssl.networks.heads import LinearHead
        >>> backbone = FPN(spatial_dims=2, base_channels=4, num_levels=2)
        >>> network = SegmentationNetwork(backbone, LinearHead(2, backbone.level_channels, 3), frozen=True)
        >>> network.train().backbone.training
        False
        >>> network(torch.zeros(1, 1, 8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """

    def __init__(self, backbone: Backbone, head: nn.Module, frozen: bool = False) -> None:
        super().__init__()
        require_backbone(backbone)
        self.backbone = backbone
        self.head = head
        self.frozen = frozen
        self.interpolation = "trilinear" if backbone.spatial_dims == 3 else "bilinear"
        self.set_frozen(frozen)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of ``x``."""
        logits = self.head(self.backbone(x))
        if logits.shape[2:] != x.shape[2:]:
            logits = F.interpolate(logits, size=x.shape[2:], mode=self.interpolation, align_corners=False)
        return logits

    def set_frozen(self, frozen: bool) -> None:
        """Freeze or unfreeze the backbone: its gradients and its batch-norm statistics."""
        self.frozen = frozen
        self.backbone.requires_grad_(not frozen)
        self.backbone.train(self.training and not frozen)

    def train(self, mode: bool = True) -> "SegmentationNetwork":
        """Set training mode, except for a frozen backbone."""
        super().train(mode)
        self.backbone.train(mode and not self.frozen)
        return self
