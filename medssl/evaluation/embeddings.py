"""Looking at dense embeddings: colours by principal components, and similarity to one voxel.

How far embeddings have collapsed (effective rank, by class) is measured by `monai.metrics.EmbeddingCollapseMetric`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional as F

from medssl.ops.pyramid import crop_like

# Colours span this range of percentiles of a component, so that a few outliers do not grey out the rest.
CONTRAST = (1, 99)


def dense_embeddings(pyramid: Sequence[Tensor]) -> Tensor:
    """Return the embedding of every voxel: all levels of a pyramid, brought to the finest and concatenated.

    Equals `medssl.ops.pyramid.gather_voxels` at all voxels: level ``i`` is read at ``voxel // 2**i``. For slices and
    small volumes only: the five levels of an `FPN` with 32 base channels take 4 kB a voxel, 2 GB for 128 × 128 × 32.

    Args:
        pyramid: feature maps of a batch, finest first; level ``i`` has shape ``(B, C_i, *ceil(spatial / 2**i))``.

    Returns:
        Tensor of shape ``(B, C_0 + C_1 + ..., *spatial)``.

    Example:
        >>> dense_embeddings([torch.zeros(1, 4, 5, 6), torch.ones(1, 8, 3, 3)]).shape
        torch.Size([1, 12, 5, 6])
    """
    finest = pyramid[0]
    levels = [
        crop_like(F.interpolate(level, scale_factor=float(2**i), mode="nearest"), finest) if i else level
        for i, level in enumerate(pyramid)
    ]
    return torch.cat(levels, dim=1)


def principal_colours(features: Tensor, mask: Tensor | None = None, num_components: int = 3) -> Tensor:
    """Return a colour map in [0, 1] of dense features: their first principal components, red, green, blue.

    Similar colours mean similar features. Equal features give equal colours on every run: the decomposition is exact,
    and the sign of each component makes its largest loading positive.

    Args:
        features: features of shape ``(C, *spatial)``.
        mask: the voxels that are decomposed, of shape ``spatial``; all others stay 0. None takes all.
        num_components: number of colours.

    Returns:
        Tensor of shape ``(num_components, *spatial)`` on the CPU.

    Raises:
        ValueError: if there are fewer features or voxels than components.

    Example:
        >>> principal_colours(torch.rand(8, 6, 6), mask=torch.ones(6, 6, dtype=torch.bool)).shape
        torch.Size([3, 6, 6])
    """
    spatial = features.shape[1:]
    chosen = torch.ones(spatial, dtype=torch.bool) if mask is None else mask.detach().cpu().bool()
    vectors = features.detach().cpu().float()[:, chosen].T.numpy()
    if min(vectors.shape) < num_components:
        raise ValueError(
            f"{num_components} principal components need as many voxels and features, got {vectors.shape[0]} voxels "
            f"of {vectors.shape[1]} features."
        )
    # Deep, barely trained networks give features whose squares overflow float32; scaling by a power of two keeps all
    # digits.
    vectors = np.ldexp(vectors, -np.frexp(np.abs(vectors).max())[1])
    # Collapsed features have no variance: an explained-variance ratio of 0 / 0, which is not used.
    with np.errstate(invalid="ignore"):
        components = PCA(num_components, svd_solver="covariance_eigh").fit_transform(vectors)
    low, high = np.percentile(components, CONTRAST, axis=0)
    colours = torch.zeros((num_components, *spatial))
    scaled = np.clip((components - low) / np.maximum(high - low, np.finfo(np.float32).tiny), 0, 1)
    colours[:, chosen] = torch.from_numpy(scaled.T).float()
    return colours


def similarity_map(features: Tensor, anchor: Sequence[int]) -> Tensor:
    """Return the cosine similarity, in [-1, 1], of every voxel's features to those of one voxel, the anchor.

    Args:
        features: features of shape ``(C, *spatial)``.
        anchor: voxel index, one number per axis.

    Returns:
        Tensor of shape ``spatial``.

    Raises:
        ValueError: if the anchor is not a voxel of the map.

    Example:
        >>> features = torch.tensor([[1.0, 0.0, -2.0], [0.0, 3.0, 0.0]])
        >>> similarity_map(features, (0,)).tolist()
        [1.0, 0.0, -1.0]
    """
    spatial = features.shape[1:]
    if len(anchor) != len(spatial) or any(not 0 <= index < size for index, size in zip(anchor, spatial, strict=True)):
        raise ValueError(f"The anchor {tuple(anchor)} is not a voxel of a map of shape {tuple(spatial)}.")
    vector = features[(slice(None), *anchor)].reshape(-1, *(1 for _ in spatial))
    return F.cosine_similarity(features, vector, dim=0)
