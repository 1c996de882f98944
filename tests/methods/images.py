"""Tiny backbones and batches for the tests of image-level methods."""

import torch
from torch import Tensor

from medssl.networks.resnet import ResNet

COARSEST = 32


def make_backbone(spatial_dims: int) -> ResNet:
    """Give a residual network whose coarsest level has 32 channels."""
    return ResNet(spatial_dims, depth=10, base_channels=4)


def make_batch(spatial_dims: int, num_pairs: int = 4) -> dict[str, Tensor]:
    """Give two random views of several images."""
    size = (48, 40, 16)[:spatial_dims]
    return {key: torch.rand(num_pairs, 1, *size) for key in ("view_1", "view_2")}
