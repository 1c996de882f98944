"""Features of chosen voxels of an image: those that sliding-window inference sees."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from monai.data.utils import dense_patch_slices
from torch import Tensor, nn
from tqdm.auto import tqdm

from medssl.ops.pyramid import interpolate_voxels
from medssl.ops.windows import VOXELS_AT_ONCE


def central_features(
    backbone: nn.Module,
    image: Tensor,
    voxels: np.ndarray,
    window_size: Sequence[int],
    overlap: float | Sequence[float] = 0.5,
    device: torch.device | str = "cpu",
    title: str | None = None,
    upsampling: str = "nearest",
) -> np.ndarray:
    """Compute the features of some voxels of an image, each from the window in which it is most central.

    The windows are those of MONAI's sliding-window inference; one without a voxel is not computed.

    Args:
        backbone: maps a window to a feature pyramid.
        image: shape ``(C, *spatial)``, no axis shorter than the window.
        voxels: integer indices, shape ``(N, spatial_dims)``.
        window_size: spatial size.
        overlap: of neighbouring windows, as a part of their size; one for all axes, or one an axis.
        device: where features are computed.
        title: of a progress bar over the windows; None shows none.
        upsampling: of coarser levels, see `medssl.ops.pyramid.interpolate_voxels`.

    Returns:
        Float32 array of shape ``(N, sum of the level channels)``, rows in the order of `voxels`.

    Example:
        >>> image = torch.arange(10.0).reshape(1, 10)
        >>> central_features(lambda x: [x], image, np.array([[9], [2]]), (4,)).tolist()
        [[9.0], [2.0]]
    """
    overlaps = [overlap] * len(window_size) if isinstance(overlap, float | int) else overlap
    starts = list(map(_window_starts, image.shape[1:], window_size, overlaps))
    # Windows form a grid, so the most central one is the nearest along every axis.
    owners = [
        np.abs(voxels[:, axis, None] - (start + (window_size[axis] - 1) / 2)).argmin(axis=1)
        for axis, start in enumerate(starts)
    ]
    window_of = np.ravel_multi_index(owners, [len(start) for start in starts])
    order = np.argsort(window_of, kind="stable")
    bounds = [*np.unique(window_of[order], return_index=True)[1], len(order)]
    result: np.ndarray | None = None
    with tqdm(total=len(bounds) - 1, desc=title, leave=False, disable=title is None, unit="window") as bar:
        owned = [order[first:last] for first, last in pairwise(bounds)]
        for batch in _pairs(owned) if 2 * math.prod(window_size) <= VOXELS_AT_ONCE else ([rows] for rows in owned):
            corners = [[int(start[o[rows[0]]]) for start, o in zip(starts, owners, strict=True)] for rows in batch]
            windows, local = _cut(image, window_size, corners, [voxels[rows] for rows in batch])
            features = window_features(backbone, windows, local, device, upsampling)
            result = np.empty((len(voxels), features.shape[1]), dtype=np.float32) if result is None else result
            result[np.concatenate(batch)] = features
            bar.update(len(batch))
    return np.empty((0, 0), dtype=np.float32) if result is None else result


def _cut(
    image: Tensor, size: Sequence[int], corners: list[list[int]], voxels: list[np.ndarray]
) -> tuple[Tensor, np.ndarray]:
    """Return windows as a batch, and voxels of the image as those of the batch."""
    windows = [image[(slice(None), *map(slice, corner, np.add(corner, size)))] for corner in corners]
    local = [np.insert(v - corner, 0, n, axis=1) for n, (v, corner) in enumerate(zip(voxels, corners, strict=True))]
    return torch.stack(windows), np.concatenate(local)


def _pairs(windows: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Group windows by two or, at the end, three: on one thread, PyTorch takes four times as long for one alone."""
    groups = [windows[first : first + 2] for first in range(0, len(windows), 2)]
    if len(groups) > 1 and len(groups[-1]) == 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups


def _window_starts(size: int, window: int, overlap: float) -> np.ndarray:
    interval = window if size == window else max(int(window * (1 - overlap)), 1)
    return np.array([part.start for (part,) in dense_patch_slices((size,), (window,), (interval,))])


@torch.inference_mode()
def window_features(
    backbone: nn.Module,
    windows: Tensor,
    voxels: np.ndarray,
    device: torch.device | str,
    upsampling: str = "nearest",
) -> np.ndarray:
    """Compute the features of some voxels of windows of one size.

    Args:
        backbone: maps windows to a feature pyramid.
        windows: shape ``(B, C, *spatial)``.
        voxels: integers of shape ``(N, 1 + spatial_dims)``: the window, then the indices into it.
        device: where they are computed.
        upsampling: of coarser levels, see `medssl.ops.pyramid.interpolate_voxels`.

    Returns:
        Float32 array of shape ``(N, sum of the level channels)``, rows in the order of `voxels`.
    """
    pyramid = backbone(windows.to(device))
    rows = interpolate_voxels(pyramid, torch.from_numpy(voxels).to(device), windows.shape[2:], upsampling)
    return rows.float().cpu().numpy()
