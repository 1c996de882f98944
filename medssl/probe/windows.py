"""Features of chosen voxels of an image: those that sliding-window inference sees."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from monai.data.utils import dense_patch_slices
from torch import Tensor, nn

from medssl.ops.pyramid import interpolate_voxels


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
        features = window_features(backbone, window, voxels[rows] - corner, device)
        result = np.empty((len(voxels), features.shape[1]), dtype=np.float32) if result is None else result
        result[rows] = features
    return np.empty((0, 0), dtype=np.float32) if result is None else result


def _window_starts(size: int, window: int, overlap: float) -> np.ndarray:
    interval = window if size == window else max(int(window * (1 - overlap)), 1)
    return np.array([part.start for (part,) in dense_patch_slices((size,), (window,), (interval,))])


@torch.inference_mode()
def window_features(backbone: nn.Module, window: Tensor, voxels: np.ndarray, device: torch.device | str) -> np.ndarray:
    """Compute the features of some voxels of one window.

    Args:
        backbone: maps a window to a feature pyramid.
        window: shape ``(C, *spatial)``.
        voxels: integer indices into the window, shape ``(N, spatial_dims)``.
        device: where they are computed.

    Returns:
        Float32 array of shape ``(N, sum of the level channels)``, rows in the order of `voxels`.
    """
    pyramid = backbone(window[None].to(device))
    indices = np.concatenate([np.zeros((len(voxels), 1), dtype=np.int64), voxels], axis=1)
    rows = interpolate_voxels(pyramid, torch.from_numpy(indices).to(device), window.shape[1:])
    return rows.float().cpu().numpy()
