"""Computing the rows of features of a case with a frozen backbone."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from monai.data.utils import dense_patch_slices
from monai.transforms.utils import generate_label_classes_crop_centers, map_classes_to_indices
from torch import Tensor, nn

from medssl.data.sampling import background_and_class_ratios
from medssl.ops.pyramid import interpolate_voxels
from medssl.probe.voxel_features import VoxelRows, choose_voxels


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
) -> VoxelRows:
    """Give rows of random patches: those that training on images draws, half centred on background, half on a class.

    Args:
        backbone: maps a patch to a feature pyramid.
        image: shape ``(C, *spatial)``, no axis shorter than the patch.
        label: integer map of shape ``spatial``.
        patch_size: spatial size.
        num_classes: number of foreground classes.
        num_patches: that are drawn.
        rows_per_patch: the most that are kept, see `medssl.probe.voxel_features.choose_voxels`.
        seed: of patches and voxels.
        device: where features are computed.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for corner in random_corners(label, patch_size, num_classes, num_patches, seed):
        patch = tuple(slice(first, first + size) for first, size in zip(corner, patch_size, strict=True))
        flat, weights = choose_voxels(label[patch], rows_per_patch, rng)
        voxels = np.stack(np.unravel_index(flat, tuple(patch_size)), axis=1)
        features = _window_features(backbone, image[(slice(None), *patch)], voxels, device)
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


def volume_rows(
    backbone: nn.Module,
    image: Tensor,
    label: np.ndarray,
    window_size: Sequence[int],
    overlap: float,
    num_voxels: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> VoxelRows:
    """Give rows of a whole volume, as one patch, with the features that sliding-window inference sees.

    Args:
        backbone: maps a window to a feature pyramid.
        image: shape ``(C, *spatial)``, no axis shorter than the window.
        label: integer map of shape ``spatial``.
        window_size: spatial size.
        overlap: of neighbouring windows, as a part of their size.
        num_voxels: the most that are kept, see `medssl.probe.voxel_features.choose_voxels`.
        seed: of the voxels.
        device: where features are computed.
    """
    flat, weights = choose_voxels(label, num_voxels, np.random.default_rng(seed))
    voxels = np.stack(np.unravel_index(flat, label.shape), axis=1)
    features = central_features(backbone, image, voxels, window_size, overlap, device)
    return VoxelRows(features, label.ravel()[flat], weights, np.array([len(flat)]))


def central_features(
    backbone: nn.Module,
    image: Tensor,
    voxels: np.ndarray,
    window_size: Sequence[int],
    overlap: float = 0.5,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Give the features of some voxels of an image, each from the window in which it is most central.

    The windows are those of MONAI's sliding-window inference; one without a voxel is not computed.

    Args:
        backbone: maps a window to a feature pyramid.
        image: shape ``(C, *spatial)``, no axis shorter than the window.
        voxels: integer indices, shape ``(N, spatial_dims)``.
        window_size: spatial size.
        overlap: of neighbouring windows, as a part of their size.
        device: where features are computed.

    Returns:
        Float32 array of shape ``(N, sum of the level channels)``, rows in the order of `voxels`.

    Example:
        >>> image = torch.arange(10.0).reshape(1, 10)
        >>> central_features(lambda x: [x], image, np.array([[9], [2]]), (4,)).tolist()
        [[9.0], [2.0]]
    """
    sizes = list(zip(image.shape[1:], window_size, strict=True))
    starts = [_window_starts(size, window, overlap) for size, window in sizes]
    # Windows form a grid, so the most central one is the nearest along every axis.
    owners = [
        np.abs(voxels[:, axis, None] - (start + (window_size[axis] - 1) / 2)).argmin(axis=1)
        for axis, start in enumerate(starts)
    ]
    window_of = np.ravel_multi_index(owners, [len(start) for start in starts])
    order = np.argsort(window_of, kind="stable")
    bounds = [*np.unique(window_of[order], return_index=True)[1], len(order)]
    result: np.ndarray | None = None
    for first, last in pairwise(bounds):
        rows = order[first:last]
        corner = [int(start[owner[rows[0]]]) for start, owner in zip(starts, owners, strict=True)]
        window = image[(slice(None), *(slice(c, c + size) for c, size in zip(corner, window_size, strict=True)))]
        features = _window_features(backbone, window, voxels[rows] - corner, device)
        result = np.empty((len(voxels), features.shape[1]), dtype=np.float32) if result is None else result
        result[rows] = features
    return np.empty((0, 0), dtype=np.float32) if result is None else result


def _window_starts(size: int, window: int, overlap: float) -> np.ndarray:
    interval = window if size == window else max(int(window * (1 - overlap)), 1)
    return np.array([part.start for (part,) in dense_patch_slices((size,), (window,), (interval,))])


@torch.inference_mode()
def _window_features(backbone: nn.Module, window: Tensor, voxels: np.ndarray, device: torch.device | str) -> np.ndarray:
    pyramid = backbone(window[None].to(device))
    indices = np.concatenate([np.zeros((len(voxels), 1), dtype=np.int64), voxels], axis=1)
    rows = interpolate_voxels(pyramid, torch.from_numpy(indices).to(device), window.shape[1:])
    return rows.float().cpu().numpy()
