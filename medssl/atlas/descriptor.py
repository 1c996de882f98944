"""A descriptor of the structure around every voxel, which does not depend on brightness and contrast."""

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

# Of the mean variance of the image: the least and the most that a variance counts.
_LEAST, _MOST = 1e-3, 1e3


def self_similarity(image: Tensor, distance: int = 2) -> Tensor:
    """How alike the six neighbours of every voxel are, two at a time: values in 0..1 of shape ``(12, *spatial)``.

    Opposite neighbours are not compared. The most alike pair of a voxel has the value 1.

    Args:
        image: shape ``(C, *spatial)``, three axes; differences are summed over channels.
        distance: of the neighbours, in voxels.

    The descriptor MIND-SSC of Heinrich et al., "Towards realtime multimodal fusion for image-guided interventions
    using self-similarities", MICCAI 2013, equations 3 and 4, with boxes of 3 voxels as patches.

    Example:
        >>> image = torch.rand(1, 6, 7, 8, generator=torch.Generator().manual_seed(0))
        >>> similarity = self_similarity(image)
        >>> similarity.shape
        torch.Size([12, 6, 7, 8])
        >>> torch.allclose(similarity, self_similarity(3 * image + 1), atol=1e-4)
        True
    """
    neighbours = [
        (axis, torch.stack([_moved(channel, axis, side * distance) for channel in image]))
        for axis in range(3)
        for side in (-1, 1)
    ]
    pairs = [(one, other) for (a, one), (b, other) in combinations(neighbours, 2) if a != b]
    differences = torch.cat([_box_mean((one - other).square().sum(0, keepdim=True)) for one, other in pairs])
    above_least = differences - differences.amin(dim=0)
    variance = above_least.mean(dim=0)
    mean = variance.mean()
    # An image of one value has no structure: all of its pairs are alike.
    return torch.exp(-above_least / variance.clamp(mean * _LEAST, mean * _MOST).clamp(min=torch.finfo().tiny))


def _moved(channel: Tensor, axis: int, step: int) -> Tensor:
    """Return the values `step` voxels further along an axis; beyond the border, those of the border."""
    size = channel.shape[axis]
    return channel.index_select(axis, (torch.arange(size) + step).clamp(0, size - 1))


def _box_mean(values: Tensor) -> Tensor:
    return F.avg_pool3d(F.pad(values[None], (1,) * 6, mode="replicate"), 3, stride=1)[0]
