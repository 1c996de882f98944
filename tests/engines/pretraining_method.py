"""The method of the recipe at sizes for tests, and a batch for it."""

import torch
from torch.nn import functional as F

from medssl.methods.hierarchical import Hierarchical
from medssl.networks.fpn import FPN, BalancedPyramid
from medssl.networks.heads import Projector, RestorationHead


def make_method(spatial_dims=3, base_channels=8, num_levels=3, seed=0):
    torch.manual_seed(seed)
    network = BalancedPyramid(FPN(spatial_dims, 1, base_channels, num_levels), level_channels=8)
    return Hierarchical(network, Projector((8,) * num_levels, 32), RestorationHead(spatial_dims, base_channels))


def make_batch(size=(16, 16, 8), pairs=2, num_voxels=64, seed=0):
    """Give smooth patches with noise, in two contrasts."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(pairs, 1, *(max(2, side // 4) for side in size), generator=generator)
    clean = F.interpolate(coarse, size=size, mode="trilinear" if len(size) == 3 else "bilinear")
    noise = 0.05 * torch.randn(2, *clean.shape, generator=generator)
    position = torch.arange(pairs).repeat_interleave(num_voxels)
    voxels = torch.stack([torch.randint(side, (len(position),), generator=generator) for side in size], dim=1)
    voxels = torch.cat([position[:, None], voxels], dim=1)
    return {
        "view_1": clean + noise[0],
        "view_2": clean**1.5 + noise[1],
        "clean_1": clean,
        "clean_2": clean.clone(),
        "voxels_1": voxels,
        "voxels_2": voxels.clone(),
        "case": ["a"] * pairs,
    }
