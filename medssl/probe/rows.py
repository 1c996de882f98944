"""Rows of numbers that a linear probe learns from: frozen features of chosen voxels, and what they should be."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from monai.transforms.utils import generate_label_classes_crop_centers, map_classes_to_indices
from torch import Tensor, nn
from tqdm.auto import tqdm

from medssl.data.sampling import background_and_class_ratios
from medssl.probe.choose import at_random, choose_voxels
from medssl.probe.windows import window_features

# Value of voxels in a mask of which a solved probe learns nothing.
IGNORED = 255


class VoxelRows(NamedTuple):
    """Features of voxels of one or several patches, one patch after the other.

    Attributes:
        features: shape ``(N, C)``.
        labels: class of every row, 0 is background, shape ``(N,)``.
        weights: number of voxels of its patch that every row stands for, shape ``(N,)``.
        counts: number of rows of every patch, shape ``(P,)``.
    """

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    counts: np.ndarray


def known_rows(rows: VoxelRows) -> VoxelRows:
    """Return the rows without those of the label `IGNORED`.

    Example:
        >>> rows = VoxelRows(np.eye(2), np.array([1, IGNORED]), np.ones(2), np.array([2]))
        >>> known_rows(rows).labels.tolist(), known_rows(rows).counts.tolist()
        ([1], [1])
    """
    known = rows.labels != IGNORED
    if known.all():
        return rows
    patches = np.repeat(np.arange(len(rows.counts)), rows.counts)
    counts = np.bincount(patches[known], minlength=len(rows.counts))
    return VoxelRows(rows.features[known], rows.labels[known], rows.weights[known], counts)


def random_patch_rows(
    backbone: nn.Module,
    image: Tensor,
    label: np.ndarray,
    patch_size: Sequence[int],
    num_classes: int,
    num_patches: int,
    rows_per_patch: int,
    seed: int,
    device: torch.device | str = "cpu",
    title: str | None = None,
    upsampling: str = "nearest",
) -> VoxelRows:
    """Compute rows of random patches: those that training on images draws, half centred on background, half on a class.

    Args:
        backbone: maps a patch to a feature pyramid.
        image: shape ``(C, *spatial)``, no axis shorter than the patch.
        label: integer map of shape ``spatial``.
        patch_size: spatial size.
        num_classes: number of foreground classes.
        num_patches: that are drawn.
        rows_per_patch: the most that are kept, see `medssl.probe.choose.choose_voxels`.
        seed: of patches and voxels.
        device: where features are computed.
        title: of a progress bar over the patches; None shows none.
        upsampling: of coarser levels, see `medssl.ops.pyramid.interpolate_voxels`.
    """
    rng = np.random.default_rng(seed)
    parts = []
    corners = random_corners(label, patch_size, num_classes, num_patches, seed)
    for corner in tqdm(corners, title, leave=False, disable=title is None, unit="patch"):
        patch = tuple(slice(first, first + size) for first, size in zip(corner, patch_size, strict=True))
        flat, weights = choose_voxels(label[patch], rows_per_patch, at_random(rng))
        voxels = np.stack([np.zeros_like(flat), *np.unravel_index(flat, tuple(patch_size))], axis=1)
        features = window_features(backbone, image[(None, slice(None), *patch)], voxels, device, upsampling)
        parts.append((features, label[patch].ravel()[flat], weights, [len(flat)]))
    return VoxelRows(*map(np.concatenate, zip(*parts, strict=True)))


def random_corners(
    label: np.ndarray, patch_size: Sequence[int], num_classes: int, num_patches: int, seed: int
) -> list[list[int]]:
    """Give the first voxels of random patches, placed as MONAI's ``RandCropByLabelClassesd`` does in `train.yaml`.

    Args:
        label: integer map.
        patch_size: spatial size.
        num_classes: number of foreground classes.
        num_patches: that are drawn.
        seed: of the patches.

    Example:
        >>> random_corners(np.eye(4, dtype=int), (2, 4), num_classes=1, num_patches=4, seed=0)
        [[1, 0], [2, 0], [0, 0], [1, 0]]
    """
    centres = generate_label_classes_crop_centers(
        patch_size,
        num_patches,
        label.shape,
        map_classes_to_indices(label[None], num_classes + 1),
        background_and_class_ratios(num_classes),
        np.random.RandomState(np.random.SeedSequence(seed).generate_state(4)),
        warn=False,
    )
    return [[int(c) - size // 2 for c, size in zip(centre, patch_size, strict=True)] for centre in centres]
