"""NIfTI files, read and verified in one pass."""

import os
from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import NibabelReader
from monai.data.utils import correct_nifti_header_if_necessary
from monai.utils import ensure_tuple
from nibabel.volumeutils import apply_read_scaling

from medssl.scans.integrity import sound_header
from medssl.scans.memory import naming_memory, require_memory
from medssl.scans.streams import whole_nifti


def read_nifti(path: str | os.PathLike[str], spatial_dims: int | None = 3, channels: int | None = 1) -> nib.Nifti1Image:
    """Read a NIfTI file, verified to the end of its stream, and require a geometry without errors.

    Scaled voxels are float32, except that int16 stays int16 where scaling only adds an integer and the sums fit.

    Args:
        path: a ``.nii`` or ``.nii.gz`` file.
        spatial_dims: required number of spatial axes, 2 or 3; ``None``: either.
        channels: required number of volumes in a 3D file; ``None``: any.

    Raises:
        ValueError: if the file is damaged, its voxels are not single numbers, or its geometry has an error; the message
            names the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scan = os.path.join(folder, "scan.nii.gz")
        ...     nib.save(nib.Nifti1Image(np.full((4, 3, 2), 7, np.int16), np.diag([2, 2, 5, 1])), scan)
        ...     image = read_nifti(scan)
        >>> image.dataobj.dtype.name, image.header.get_zooms() == (2, 2, 5)
        ('int16', True)
    """
    voxels = whole_nifti(path)
    sound_header(path, spatial_dims, channels)
    image = nib.load(path)
    # Vectors are stored along a fifth axis.
    voxels = voxels.reshape(*voxels.shape[:3], -1) if voxels.ndim > 4 else voxels
    with naming_memory(path):
        voxels = _scaled(path, voxels, image.dataobj.slope, image.dataobj.inter)
    return type(image)(voxels, image.affine, image.header)


class LoadedNifti(NibabelReader):
    """Hand images that `read_nifti` has read to MONAI's loader.

    Args:
        paths: files to read.
        spatial_dims: required number of spatial axes, 2 or 3; ``None``: either.
        channels: required number of volumes in a 3D file; ``None``: any.

    Raises:
        ValueError: if one cannot be trusted; the message names the file.
    """

    def __init__(
        self, paths: Sequence[str | os.PathLike[str]], spatial_dims: int | None = 3, channels: int | None = 1
    ) -> None:
        super().__init__()
        self.images = [correct_nifti_header_if_necessary(read_nifti(path, spatial_dims, channels)) for path in paths]

    def read(self, data: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], **kwargs: Any) -> Any:
        """Return the images.

        Args:
            data: paths of the images.
            kwargs: unused; part of MONAI's interface.
        """
        self.filenames = ensure_tuple(data)
        return self.images if len(self.images) > 1 else self.images[0]

    def _get_array_data(self, img: nib.Nifti1Image, filename: str) -> torch.Tensor:
        # MONAI would copy an array into C order, which takes as long as resampling it; it leaves a tensor as it is.
        voxels = np.asarray(img.dataobj)
        return torch.from_numpy(voxels.astype(np.float64) if voxels.dtype == np.longdouble else voxels)


def _scaled(path: str | os.PathLike[str], voxels: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    if not voxels.dtype.isnative:
        voxels = voxels.byteswap(inplace=True).view(voxels.dtype.newbyteorder("="))
    if (slope, intercept) == (1.0, 0.0) or voxels.dtype.names:
        return voxels
    if voxels.dtype == np.int16 and slope == 1 and _fits(voxels, intercept):
        voxels += np.int16(intercept)
        return voxels
    require_memory(path, 4 * voxels.size)
    result = np.empty(voxels.shape, np.float32, order="F")
    # float64 for one slab at a time, not for a whole volume.
    with np.errstate(over="ignore"):  # Whoever loads it refuses Inf.
        for index in range(voxels.shape[-1]):
            result[..., index] = apply_read_scaling(voxels[..., index], np.float64(slope), np.float64(intercept))
    return result


def _fits(voxels: np.ndarray, intercept: float) -> bool:
    limits = np.iinfo(np.int16)
    low, high = int(voxels.min()) + intercept, int(voxels.max()) + intercept
    return float(intercept).is_integer() and abs(intercept) <= limits.max and limits.min <= low and high <= limits.max
