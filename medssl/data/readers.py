"""Voxels and affines of NRRD, MetaImage and DICOM through SimpleITK, of NIfTI through nibabel."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from monai.data import ImageReader
from monai.data.utils import orientation_ras_lps
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from medssl.data.dicom import damaged_slice, series_files

NIFTI_ENDINGS = (".nii", ".nii.gz")
ITK_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")


class SimpleITKReader(ImageReader):
    """Give arrays with axes x, y, z and affines to RAS mm, as MONAI's ``ITKReader`` does, without the package itk.

    It reads NRRD, MetaImage and DICOM: a folder is one series, a ``.dcm`` file is one scan. A header's free text, which
    may hold the name of a patient, is left behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = str(Path(folder) / "scan.nrrd")
        ...     sitk.WriteImage(sitk.Image(5, 4, 3, sitk.sitkInt16), file)
        ...     reader = SimpleITKReader()
        ...     array, meta = reader.get_data(reader.read(file))
        >>> array.shape, np.diag(meta["affine"]).tolist()
        ((5, 4, 3), [-1.0, -1.0, 1.0, 1.0])
    """

    def verify_suffix(self, filename: Sequence[str | os.PathLike[str]] | str | os.PathLike[str]) -> bool:
        """Tell whether every path is a folder or ends like a file that this reader takes.

        Args:
            filename: one path or several.
        """
        paths = [Path(name) for name in ensure_tuple(filename)]
        return all(path.is_dir() or path.name.lower().endswith((*ITK_ENDINGS, ".dcm")) for path in paths)

    def read(self, data: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], **kwargs: Any) -> sitk.Image:
        """Return the image at a path.

        Args:
            data: one path.
            kwargs: none; part of MONAI's interface.

        Raises:
            ValueError: if there are several paths, or the image cannot be read.
        """
        paths = ensure_tuple(data)
        if len(paths) != 1:
            raise ValueError(f"{len(paths)} files are given as one scan: {paths}; give one file or one DICOM folder.")
        return read_itk(Path(paths[0]))

    def get_data(self, img: sitk.Image) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the voxels, shape ``(x, y, z)`` or ``(x, y, z, components)``, and their geometry.

        Args:
            img: from `read`.
        """
        array = itk_array(img)
        affine = itk_affine(img)
        has_channels = img.GetNumberOfComponentsPerPixel() > 1
        meta = {
            MetaKeys.AFFINE: affine.copy(),
            MetaKeys.ORIGINAL_AFFINE: affine,
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.asarray(img.GetSize()),
            MetaKeys.ORIGINAL_CHANNEL_DIM: -1 if has_channels else float("nan"),
        }
        return array, meta


def read_volume(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the voxels of a scan as stored, scaled by its header, axes in the order of the file: x, y, z.

    Args:
        path: NIfTI, NRRD or MetaImage file, or folder of a DICOM series.

    Raises:
        ValueError: if it cannot be read; the message names the file, for a series the slice.
    """
    if not str(path).lower().endswith(NIFTI_ENDINGS):
        return itk_array(read_itk(Path(path)))
    try:
        return np.asanyarray(nib.load(path).dataobj)
    except Exception as error:
        # nibabel's errors for a strange header have no common class.
        raise ValueError(f"{path} cannot be read as NIfTI ({error}); save or download it again.") from error


def read_itk(path: Path) -> sitk.Image:
    """Return the image of a file or of the DICOM series in a folder.

    Args:
        path: to read.

    Raises:
        ValueError: if it cannot be read; the message names the file, for a series the slice.
    """
    files = series_files(path) if path.is_dir() else None
    try:
        return sitk.ReadImage(files or str(path))
    except RuntimeError as error:
        damaged = (damaged_slice(files) if files else None) or path
        raise ValueError(f"{damaged} cannot be read as an image; copy or export it again.") from error


def itk_array(image: sitk.Image) -> np.ndarray:
    """Return the voxels with the first axis x, components last.

    Args:
        image: to take them from.
    """
    array = sitk.GetArrayFromImage(image)
    rank = image.GetDimension()
    return array.transpose(*reversed(range(rank)), *range(rank, array.ndim))


def itk_affine(image: sitk.Image | sitk.ImageFileReader) -> np.ndarray:
    """Return the map from voxel indices to RAS mm, shape ``(rank + 1, rank + 1)`` with rank at most 3.

    Args:
        image: an image, or a reader that has read the header.
    """
    rank = image.GetDimension()
    kept = min(rank, 3)
    direction = np.reshape(image.GetDirection(), (rank, rank))[:kept, :kept]
    affine = np.eye(kept + 1)
    affine[:kept, :kept] = direction * np.asarray(image.GetSpacing())[:kept]
    affine[:kept, kept] = image.GetOrigin()[:kept]
    return orientation_ras_lps(affine)
