"""Points that a person clicked in a scan: which voxels they are."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medssl.scans.headers import VolumeHeader
from medssl.scans.integrity import sound_header

Point = Sequence[float]


def clicked_voxels(scan: Path, inside: Sequence[Point], outside: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of the points inside a structure and of those outside of it, each int64 of shape ``(N, 3)``.

    Args:
        scan: file of a 3D scan, or folder of a DICOM series. Only its header is read.
        inside: right, anterior and superior coordinates in mm of every point in the structure.
        outside: those of the points that are not in it.

    Raises:
        ValueError: if no point is inside, a point is not in the scan, a voxel was clicked on both sides, or the scan
            cannot be used.
    """
    if not len(inside):
        raise ValueError("No point inside the structure is given; give at least one.")
    # How many channels there must be is for whoever loads the scan.
    header = sound_header(scan, channels=None)
    sides = [voxels_of(points, header.affine) for points in (inside, outside)]
    for points, voxels in zip((inside, outside), sides, strict=True):
        for point, voxel in zip(points, voxels, strict=True):
            if not np.isfinite(point).all() or np.any(voxel < 0) or np.any(voxel >= header.grid):
                raise ValueError(f"The point {_text(point)} is not in {scan}, which {_extent(header)}.")
    for point, voxel in zip(inside, sides[0], strict=True):
        if (sides[1] == voxel).all(axis=1).any():
            raise ValueError(
                f"The voxel at {_text(point)} is given as inside and as outside the structure; remove one of them."
            )
    return sides[0], sides[1]


def voxels_of(points: Sequence[Point], affine: np.ndarray) -> np.ndarray:
    """Nearest voxels of points in mm, int64 of shape ``(N, 3)``; they may be outside the grid.

    Args:
        points: right, anterior and superior coordinates in mm.
        affine: voxel index to mm, shape ``(4, 4)``.

    Example:
        >>> voxels_of([(2.0, 4.0, -9.0)], np.diag([2.0, 2.0, 3.0, 1.0])).tolist()
        [[1, 2, -3]]
    """
    homogeneous = np.array([(*point, 1.0) for point in points], dtype=np.float64).reshape(-1, 4)
    places = np.nan_to_num(homogeneous @ np.linalg.inv(affine).T)[:, :3]
    # Far beyond any scan, but still integers.
    return np.rint(places.clip(-1e9, 1e9)).astype(np.int64)


def _text(point: Point) -> str:
    return f"({', '.join(f'{float(value):g}' for value in point)})"


def _extent(header: VolumeHeader) -> str:
    ends = ([0, size - 1] for size in header.grid)
    corners = np.array([(*corner, 1) for corner in itertools.product(*ends)]) @ header.affine.T
    low, high = corners[:, :3].min(axis=0).round(), corners[:, :3].max(axis=0).round()
    return f"reaches from {_text(low)} to {_text(high)} mm (right, anterior, superior)"
