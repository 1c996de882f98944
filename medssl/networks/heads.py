"""Heads: projector and restoration head for pretraining, linear and non-linear heads for segmentation."""

import itertools
from collections.abc import Sequence

from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.networks.fpn import ResidualBlock
from medssl.ops.pyramid import crop_like


class Projector(nn.Sequential):
    """Maps concatenated features of shape ``(N, sum(level_channels))`` to embeddings ``(N, out_channels)``.

    Two hidden layers of the input width with batch norm and ReLU, then a linear layer: the three-layer network of
    Kats et al. (2024), section 2.3. The embeddings are not normalised; the loss does that.

    Args:
        level_channels: channels of each level of the pyramid.
        out_channels: length of an embedding.

    Example:
        >>> import torch
        >>> Projector((32,) * 5)(torch.zeros(4, 160)).shape
        torch.Size([4, 128])
    """

    def __init__(self, level_channels: Sequence[int], out_channels: int = 128) -> None:
        in_channels = sum(level_channels)
        super().__init__(
            nn.Linear(in_channels, in_channels),
            nn.BatchNorm1d(in_channels),
            nn.ReLU(),
            nn.Linear(in_channels, in_channels),
            nn.BatchNorm1d(in_channels),
            nn.ReLU(),
            nn.Linear(in_channels, out_channels),
        )


class RestorationHead(nn.Sequential):
    """Restores the image, of shape ``(B, out_channels, *spatial)``, from the finest feature map.

    Two convolutions (3-wide, then 1-wide), each after batch norm and ReLU: the restoration head of Kats et al. (2024),
    section 2.3.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the finest feature map.
        out_channels: channels of the image.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int = 1) -> None:
        conv, norm = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims]
        hidden = max(in_channels // 2, 1)
        super().__init__(
            norm(in_channels),
            nn.ReLU(),
            conv(in_channels, hidden, 3, padding=1),
            norm(hidden),
            nn.ReLU(),
            conv(hidden, out_channels, 1),
        )


class LinearHead(nn.Module):
    """Logits of shape ``(B, num_classes, *spatial)`` as a linear map of every voxel's embedding.

    One 1-wide convolution a level (a bias at the finest only); coarser logits are upsampled to the finest level and
    added: Kats et al. (2024), section 3.2.

    Args:
        spatial_dims: 2 or 3.
        level_channels: channels of each level of the pyramid, finest first.
        num_classes: number of foreground classes.
        standardize: True puts a batch norm without parameters before each level (after He et al., 2022,
            https://arxiv.org/abs/2111.06377, section 4.2): still a linear map, but one that a short training fits
            whatever the scale of the features. False is the paper's head.
        upsampling: ``nearest``, or ``linear`` between the centres of the cells.

    Raises:
        ValueError: if `upsampling` is something else.

    Example:
        >>> import torch
        >>> head = LinearHead(2, level_channels=(4, 8), num_classes=3)
        >>> head([torch.zeros(1, 4, 5, 5), torch.zeros(1, 8, 3, 3)]).shape
        torch.Size([1, 3, 5, 5])
    """

    def __init__(
        self,
        spatial_dims: int,
        level_channels: Sequence[int],
        num_classes: int,
        standardize: bool = False,
        upsampling: str = "nearest",
    ) -> None:
        super().__init__()
        if upsampling not in ("nearest", "linear"):
            raise ValueError(f"upsampling is {upsampling!r}; set it to nearest or linear.")
        linear = "trilinear" if spatial_dims == 3 else "bilinear"
        self.upsampling = linear if upsampling == "linear" else upsampling
        conv, norm = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims]
        # Coarsest first: the order in which the logits are added up.
        self.norms = nn.ModuleList(
            # Without momentum the statistics are the mean over all batches, not an estimate of the last few.
            norm(channels, affine=False, momentum=None) if standardize else nn.Identity()
            for channels in reversed(level_channels)
        )
        self.convs = nn.ModuleList(
            conv(level_channels[i], num_classes, 1, bias=(i == 0)) for i in reversed(range(len(level_channels)))
        )

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Return the logits for a pyramid, finest first."""
        levels = pyramid[::-1]
        logits = levels[0]
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs)):  # noqa: B905
            part = conv(norm(levels[i]))
            if i < len(levels) - 1:
                upsampled = F.interpolate(part, scale_factor=2.0 ** (len(levels) - 1 - i), mode=self.upsampling)
                part = crop_like(upsampled, pyramid[0])
            logits = part if i == 0 else logits + part
        return logits


class NonLinearHead(nn.Module):
    """A U-Net decoder of 1-wide convolutions: logits of shape ``(B, num_classes, *spatial)``.

    From the coarsest level up: a residual block, then for every finer level a channel-halving convolution, nearest
    upsampling, the added lateral level and a residual block. No layer mixes neighbouring voxels, so all
    context comes from the pyramid (vox2vec, Goncharov et al., 2023, section 3).

    Args:
        spatial_dims: 2 or 3.
        level_channels: channels of each level of the pyramid, finest first.
        num_classes: number of foreground classes.
    """

    def __init__(self, spatial_dims: int, level_channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        coarse_first = list(reversed(level_channels))
        self.bottom = ResidualBlock(spatial_dims, coarse_first[0], kernel_size=1)
        pairs = list(itertools.pairwise(coarse_first))
        self.ups = nn.ModuleList(conv(coarse, fine, 1) for coarse, fine in pairs)
        self.laterals = nn.ModuleList(conv(fine, fine, 1) for _, fine in pairs)
        self.blocks = nn.ModuleList(ResidualBlock(spatial_dims, fine, kernel_size=1) for _, fine in pairs)
        self.classify = conv(level_channels[0], num_classes, 1)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Return the logits for a pyramid, finest first."""
        levels = pyramid[::-1]
        x = self.bottom(levels[0])
        for i, (up, lateral, block) in enumerate(zip(self.ups, self.laterals, self.blocks)):  # noqa: B905
            finer = levels[i + 1]
            x = crop_like(F.interpolate(up(x), scale_factor=2.0, mode="nearest"), finer)
            x = block(x + lateral(finer))
        return self.classify(x)
