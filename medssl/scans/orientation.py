"""How the stored axes of a scan lie in space."""

from functools import lru_cache

import nibabel as nib
import numpy as np


def ras_orientation(affine: np.ndarray) -> np.ndarray:
    """The axis of RAS that each stored axis is closest to, and its direction, as nibabel gives them, shape ``(3, 2)``.

    The scans of a data set share few orientations, so each is computed once.

    Args:
        affine: voxel index to RAS mm, shape ``(4, 4)``.

    Example:
        >>> ras_orientation(np.diag([-1.0, 1.0, 3.0, 1.0])).astype(int).tolist()
        [[0, -1], [1, 1], [2, 1]]
    """
    return _orientation(np.asarray(affine, dtype=np.float64)[:3, :3].tobytes())


def turned_to_ras(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A view of a volume with its axes in the order and direction of RAS.

    Args:
        voxels: values with three axes.
        affine: voxel index to RAS mm, shape ``(4, 4)``.

    Example:
        >>> turned_to_ras(np.arange(3).reshape(3, 1, 1), np.diag([-1.0, 1.0, 3.0, 1.0])).ravel().tolist()
        [2, 1, 0]
    """
    return nib.apply_orientation(voxels, ras_orientation(affine))


@lru_cache(maxsize=1024)
def _orientation(axes: bytes) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.frombuffer(axes).reshape(3, 3)
    orientation = nib.io_orientation(affine)
    orientation.flags.writeable = False
    return orientation
