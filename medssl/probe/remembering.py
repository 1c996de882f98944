"""A frozen backbone that keeps the pyramids of the windows it has seen."""

import hashlib

import numpy as np
import torch
from torch import Tensor, nn

from medssl.networks.backbone import Backbone


class RememberingBackbone(nn.Module):
    """The backbone given, which computes the pyramid of a window once and keeps it in memory.

    A window is known by its voxels, so a changed image gets new features. A feature takes 4 bytes: of a pyramid of 16
    channels (doubled at every level) and 4 levels, 85 bytes a voxel.

    Args:
        backbone: frozen; put in evaluation mode.

    Attributes:
        computed: windows that went through the backbone.

    Example:
        >>> from medssl.networks.fpn import FPN
        >>> backbone = RememberingBackbone(FPN(spatial_dims=2, base_channels=4, num_levels=2))
        >>> window = torch.rand(1, 1, 8, 8)
        >>> bool((backbone(window)[0] == backbone(window)[0]).all()), backbone.computed
        (True, 1)
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone.eval()
        self.spatial_dims = backbone.spatial_dims
        self.level_channels = backbone.level_channels
        self.strides = backbone.strides
        self.computed = 0
        self._kept: dict[bytes, list[Tensor]] = {}

    @torch.no_grad()
    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the pyramid of windows of shape ``(B, C, *spatial)``, finest first."""
        pyramids = [self._pyramid(window) for window in x.split(1)]
        # Joining copies, which takes longer than a head on a whole scan.
        return pyramids[0] if len(pyramids) == 1 else [torch.cat(levels) for levels in zip(*pyramids, strict=True)]

    def _pyramid(self, window: Tensor) -> list[Tensor]:
        key = hashlib.blake2b(np.ascontiguousarray(window.cpu().numpy())).digest() + str(tuple(window.shape)).encode()
        if key not in self._kept:
            self._kept[key] = self.backbone(window)
            self.computed += 1
        return self._kept[key]
