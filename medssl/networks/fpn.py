"""Feature pyramid networks for voxel embeddings, in 2D and 3D."""

import itertools
from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv, Norm, Pool
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.networks.backbone import Backbone
from medssl.networks.levels import halving_levels
from medssl.networks.recomputing import recomputed
from medssl.ops.pyramid import crop_like


class ResidualBlock(nn.Module):
    """A residual block: features of the same shape, plus two normalised, activated convolutions of them.

    Pre-activation order (norm, ReLU, convolution; twice), as in vox2vec (Goncharov et al., 2023).

    Args:
        spatial_dims: 2 or 3.
        channels: channels in and out.
        kernel_size: 3, or 1 for a block that does not mix neighbours.
    """

    def __init__(self, spatial_dims: int, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        conv, norm = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims]
        self.layers = nn.Sequential(
            norm(channels),
            nn.ReLU(),
            conv(channels, channels, kernel_size, padding=kernel_size // 2),
            norm(channels),
            nn.ReLU(),
            conv(channels, channels, kernel_size, padding=kernel_size // 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` plus its residual."""
        return x + self.layers(x)


class ResidualStack(nn.Sequential):
    """Residual blocks one after another: features of the same shape.

    Args:
        spatial_dims: 2 or 3.
        channels: channels in and out.
        num_blocks: number of blocks.

    Attributes:
        recomputes: True keeps none of the activations inside for the backward pass, which computes them again.
    """

    def __init__(self, spatial_dims: int, channels: int, num_blocks: int = 2) -> None:
        super().__init__(*(ResidualBlock(spatial_dims, channels) for _ in range(num_blocks)))
        self.recomputes = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the features after the last block."""
        if not torch.jit.is_scripting() and self.recomputes and torch.is_grad_enabled():
            return recomputed(self._blocks, self, x)
        return self._blocks(x)

    def _blocks(self, x: Tensor) -> Tensor:
        for block in self:
            x = block(x)
        return x


class FPN(nn.Module):
    """A feature pyramid network: the feature maps of an image, finest level first.

    A stem, an encoder that halves the size (rounding up) and doubles the channels from level to level, and a
    decoder that adds the upsampled coarser level to a lateral projection. Level ``i`` has ``base_channels * 2**i``
    channels and the size ``ceil(size / 2**i)``. The defaults are those of Kats et al. (2024), section 2.2; vox2vec
    (Goncharov et al., 2023) is ``base_channels=16, num_levels=6``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        base_channels: channels of the finest level.
        num_levels: number of levels.

    Raises:
        ValueError: if there is less than one level.

    Example:
        >>> backbone = FPN(spatial_dims=3, base_channels=4, num_levels=3)
        >>> [tuple(level.shape) for level in backbone(torch.zeros(2, 1, 9, 8, 4))]
        [(2, 4, 9, 8, 4), (2, 8, 5, 4, 2), (2, 16, 3, 2, 1)]
    """

    def __init__(
        self, spatial_dims: int = 3, in_channels: int = 1, base_channels: int = 32, num_levels: int = 5
    ) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.level_channels, self.strides, self.first_centres = halving_levels(base_channels, num_levels)
        widths = self.level_channels
        conv, pool = Conv[Conv.CONV, spatial_dims], Pool[Pool.MAX, spatial_dims]
        self.stem = conv(in_channels, base_channels, 3, padding=1)
        self.encoder = nn.ModuleList(ResidualStack(spatial_dims, width) for width in widths[:-1])
        self.downs = nn.ModuleList(
            nn.Sequential(pool(2, ceil_mode=True), conv(fine, coarse, 1)) for fine, coarse in itertools.pairwise(widths)
        )
        self.bottom = ResidualStack(spatial_dims, widths[-1])
        # The decoder runs from coarse to fine, so its lists are coarsest first.
        self.ups = nn.ModuleList(
            conv(coarse, fine, 1) for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.laterals = nn.ModuleList(conv(width, width, 1) for width in widths[-2::-1])
        self.decoder = nn.ModuleList(ResidualStack(spatial_dims, width) for width in widths[-2::-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of ``x`` of shape ``(B, C, *spatial)``, finest first."""
        x = self.stem(x)
        skips: list[Tensor] = []
        for stage, down in zip(self.encoder, self.downs):  # noqa: B905 (TorchScript has no strict)
            x = stage(x)
            skips.append(x)
            x = down(x)
        x = self.bottom(x)
        pyramid: list[Tensor] = [x]
        for up, lateral, stage in zip(self.ups, self.laterals, self.decoder):  # noqa: B905
            skip = skips.pop()
            upsampled = F.interpolate(up(x), scale_factor=2.0, mode="nearest")
            x = stage(lateral(skip) + crop_like(upsampled, skip))
            pyramid.insert(0, x)
        return pyramid


class LevelProjections(nn.Module):
    """Projects every level to the same number of channels, by one linear map per level.

    Only the finest level has a bias, so that a sum over levels has exactly one (Kats et al., 2024, section 2.2).

    Args:
        spatial_dims: 2 or 3.
        level_channels: channels of each level, finest first.
        out_channels: channels of every projected level.
        trainable: False keeps the random initial maps, as the authors' published code does.
    """

    def __init__(
        self, spatial_dims: int, level_channels: Sequence[int], out_channels: int, trainable: bool = True
    ) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        self.convs = nn.ModuleList(
            conv(channels, out_channels, 1, bias=(i == 0)) for i, channels in enumerate(level_channels)
        )
        self.requires_grad_(trainable)

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Return the projected feature maps."""
        projected: list[Tensor] = []
        for i, conv in enumerate(self.convs):
            projected.append(conv(pyramid[i]))
        return projected

    @torch.jit.unused
    def rows(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """Return the projections of rows of shape ``(N, C_i)`` that were gathered from the levels.

        Equal to gathering from the projected maps, but all other voxels are skipped.
        """
        return [F.linear(row, conv.weight.flatten(1), conv.bias) for row, conv in zip(rows, self.convs, strict=True)]


class BalancedPyramid(nn.Module):
    """A feature pyramid whose levels all have the same number of channels, finest first.

    A backbone followed by `LevelProjections`: the hierarchically balanced architecture of Kats et al. (2024),
    section 2.2, where the backbone is an `FPN`. Only ``backbone`` is transferred; the projections serve pretraining.

    Args:
        backbone: maps an image to a pyramid.
        level_channels: channels of every level after projection.
        trainable: False keeps the projections at their random start, as the authors' published code does.

    Example:
        >>> network = BalancedPyramid(FPN(spatial_dims=2, base_channels=4, num_levels=3), level_channels=6)
        >>> [tuple(level.shape) for level in network(torch.zeros(1, 1, 8, 8))]
        [(1, 6, 8, 8), (1, 6, 4, 4), (1, 6, 2, 2)]
    """

    def __init__(self, backbone: Backbone, level_channels: int = 32, trainable: bool = True) -> None:
        super().__init__()
        self.backbone = backbone
        self.projections = LevelProjections(backbone.spatial_dims, backbone.level_channels, level_channels, trainable)
        self.spatial_dims = backbone.spatial_dims
        self.level_channels = (level_channels,) * len(backbone.level_channels)
        self.strides = backbone.strides
        self.first_centres = backbone.first_centres

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the balanced feature maps of ``x`` of shape ``(B, C, *spatial)``, finest first."""
        return self.projections(self.backbone(x))
