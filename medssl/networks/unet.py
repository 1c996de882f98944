"""U-Nets as backbones, in 2D and 3D."""

import itertools
from collections.abc import Sequence

import torch
from monai.networks.blocks import UpSample
from monai.networks.layers.factories import Pool
from monai.networks.nets.basic_unet import TwoConv
from torch import Tensor, nn

from medssl.networks.levels import halving_levels
from medssl.ops.pyramid import crop_like


def two_convolutions(spatial_dims: int, in_channels: int, out_channels: int) -> TwoConv:
    """Return two 3-wide convolutions that keep the size, each followed by batch norm and ReLU.

    Example:
        >>> two_convolutions(2, 1, 4)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 4, 8, 8])
    """
    return TwoConv(spatial_dims, in_channels, out_channels, act="relu", norm="batch", bias=False)


class UpBlock(nn.Module):
    """One step of a decoder: coarser features upsampled, concatenated with finer ones, then two convolutions.

    A transposed convolution doubles the size; if the finer size is odd, its last cells are cut off.

    Args:
        spatial_dims: 2 or 3.
        coarse_channels: channels of the coarser features.
        channels: channels of the finer features, and of the result.
        num_skips: number of feature maps of the finer size.
    """

    def __init__(self, spatial_dims: int, coarse_channels: int, channels: int, num_skips: int = 1) -> None:
        super().__init__()
        self.upsample = UpSample(spatial_dims, coarse_channels, channels, scale_factor=2, mode="deconv")
        self.convs = two_convolutions(spatial_dims, (num_skips + 1) * channels, channels)

    def forward(self, coarse: Tensor, skips: list[Tensor]) -> Tensor:
        """Return features of the finer size for coarser ones and a list of finer ones."""
        up = crop_like(self.upsample(coarse), skips[0])
        return self.convs(torch.cat(skips + [up], dim=1))  # noqa: RUF005 (TorchScript has no unpacking)


class UNetUps(nn.Module):
    """A U-Net's decoder on any encoder: a pyramid of the same channels and sizes, its coarsest level unchanged.

    Args:
        spatial_dims: 2 or 3.
        level_channels: channels of each level, finest first; a level has half the size of the one before (rounded up).

    Example:
        >>> ups = UNetUps(2, level_channels=(4, 8))
        >>> [tuple(level.shape) for level in ups([torch.zeros(1, 4, 5, 5), torch.zeros(1, 8, 3, 3)])]
        [(1, 4, 5, 5), (1, 8, 3, 3)]
    """

    def __init__(self, spatial_dims: int, level_channels: Sequence[int]) -> None:
        super().__init__()
        # Coarsest first, in the order of computation.
        self.blocks = nn.ModuleList(
            UpBlock(spatial_dims, coarse, fine) for coarse, fine in itertools.pairwise(reversed(level_channels))
        )

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Return the decoder's pyramid, finest first."""
        levels = pyramid[::-1]
        decoded: list[Tensor] = [levels[0]]
        for i, block in enumerate(self.blocks):
            decoded.insert(0, block(decoded[0], [levels[i + 1]]))
        return decoded


class UNetEncoder(nn.Module):
    """The encoder of a U-Net: the feature maps of an image, finest level first.

    Every level is two convolutions with batch norm and ReLU; max pooling before each but the first halves the size
    (rounding up), and the channels double. Level ``i`` has ``base_channels * 2**i`` channels and the size
    ``ceil(size / 2**i)``. The encoder of Ronneberger et al. (2015), https://arxiv.org/abs/1505.04597, with padded
    convolutions and batch norm.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        base_channels: channels of the finest level.
        num_levels: number of levels.

    Raises:
        ValueError: if there is less than one level.

    Example:
        >>> backbone = UNetEncoder(spatial_dims=2, base_channels=4, num_levels=3)
        >>> [tuple(level.shape) for level in backbone(torch.zeros(2, 1, 9, 8))]
        [(2, 4, 9, 8), (2, 8, 5, 4), (2, 16, 3, 2)]
    """

    def __init__(
        self, spatial_dims: int = 3, in_channels: int = 1, base_channels: int = 32, num_levels: int = 5
    ) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.level_channels, self.strides, self.first_centres = halving_levels(base_channels, num_levels)
        self.pool = Pool[Pool.MAX, spatial_dims](2, ceil_mode=True)
        self.stages = nn.ModuleList(
            two_convolutions(spatial_dims, *widths)
            for widths in itertools.pairwise((in_channels, *self.level_channels))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of ``x`` of shape ``(B, C, *spatial)``, finest first."""
        pyramid: list[Tensor] = []
        for i, stage in enumerate(self.stages):
            x = stage(x if i == 0 else self.pool(x))
            pyramid.append(x)
        return pyramid


class UNet(nn.Module):
    """A U-Net: the feature maps of its decoder, finest level first; the coarsest is the bottom of the encoder.

    Channels and sizes are those of `UNetEncoder`. The U-Net of Ronneberger et al. (2015) with padded convolutions,
    batch norm and transposed convolutions, as in Pix2Rep (Seince et al., 2024), whose encoder is ``base_channels=64,
    num_levels=6``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        base_channels: channels of the finest level.
        num_levels: number of levels.

    Raises:
        ValueError: if there is less than one level.

    Example:
        >>> backbone = UNet(spatial_dims=3, base_channels=4, num_levels=3)
        >>> [tuple(level.shape) for level in backbone(torch.zeros(2, 1, 9, 8, 4))]
        [(2, 4, 9, 8, 4), (2, 8, 5, 4, 2), (2, 16, 3, 2, 1)]
    """

    def __init__(
        self, spatial_dims: int = 3, in_channels: int = 1, base_channels: int = 32, num_levels: int = 5
    ) -> None:
        super().__init__()
        self.encoder = UNetEncoder(spatial_dims, in_channels, base_channels, num_levels)
        self.decoder = UNetUps(spatial_dims, self.encoder.level_channels)
        self.spatial_dims = spatial_dims
        self.level_channels = self.encoder.level_channels
        self.strides = self.encoder.strides
        self.first_centres = self.encoder.first_centres

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of ``x`` of shape ``(B, C, *spatial)``, finest first."""
        return self.decoder(self.encoder(x))
