"""Voxels and affines: NRRD, MetaImage and DICOM by SimpleITK, NIfTI by nibabel, pictures by Pillow."""

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nibabel.volumeutils import apply_read_scaling

from medssl.scans.dicom_files import is_dicom
from medssl.scans.dicom_voxels import read_dicom
from medssl.scans.memory import ScanTooLargeError, itk_bytes, naming_memory, require_memory
from medssl.scans.pictures import PICTURE_ENDINGS, Kind, is_picture, read_picture
from medssl.scans.streams import nifti_header, whole_nifti

NIFTI_ENDINGS = (".nii", ".nii.gz")
ITK_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")


def read_volume(path: str | os.PathLike[str], kind: Kind = "image") -> np.ndarray:
    """Read the voxels of a scan, scaled by its header, axes in the order of the file: x, y, z.

    Args:
        path: NIfTI, NRRD, MetaImage, PNG, TIFF or BMP file, or folder of a DICOM series.
        kind: meaning of the pixels of a picture (see `medssl.scans.pictures.read_picture`).

    Raises:
        ValueError: if it cannot be read, or is a damaged NIfTI file; the message names the file or, in a series, the
            slice.
    """
    with naming_memory(path):
        if is_picture(path):
            return read_picture(path, kind)
        if not is_nifti(path):
            return itk_array(read_itk(Path(path)))
        return scaled_nifti(path, whole_nifti(path))


def is_nifti(path: str | os.PathLike[str]) -> bool:
    """Tell by its ending whether a path is a NIfTI file; a folder is a DICOM series, whatever its name.

    Example:
        >>> is_nifti("scan.NII.gz"), is_nifti("scan.nrrd")
        (True, False)
    """
    return str(path).lower().endswith(NIFTI_ENDINGS) and not Path(path).is_dir()


def is_series(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a DICOM series: a folder, or a DICOM file without the ending of another format.

    Example:
        >>> is_series("."), is_series("scan.nii.gz")
        (True, False)
    """
    name = str(path).lower()
    is_other = name.endswith((*NIFTI_ENDINGS, *ITK_ENDINGS, *PICTURE_ENDINGS))
    return Path(path).is_dir() or name.endswith(".dcm") or (not is_other and is_dicom(path))


def scaled_nifti(path: str | os.PathLike[str], stored: np.ndarray) -> np.ndarray:
    """Scale the voxels of a NIfTI file by its header, as nibabel does.

    Args:
        path: the file, whose header is read.
        stored: voxels from `medssl.scans.streams.whole_nifti`.

    Raises:
        ValueError: if nibabel rejects the header; the message names the file.
    """
    try:
        # None stands for a header that scales nothing.
        slope, intercept = nifti_header(path).get_slope_inter()
        if slope is None or (slope, intercept) == (1, 0):
            return stored
        require_memory(path, 8 * stored.size)
        return apply_read_scaling(stored, np.float64(slope), np.float64(intercept))
    except (MemoryError, ScanTooLargeError):
        raise
    except Exception as error:
        # nibabel's errors for a strange header share no base class.
        raise ValueError(f"{path} cannot be read as NIfTI ({error}); save or download it again.") from error


def read_itk(path: Path) -> sitk.Image:
    """Read the image of a file or of the DICOM series in a folder.

    Args:
        path: file or folder.

    Raises:
        ValueError: if it cannot be read; the message names the file or, in a series, the slice.
    """
    if is_series(path):
        return read_dicom(path)
    try:
        # Once as an image, once as an array.
        require_memory(path, 2 * itk_bytes(path))
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be read as an image; copy or export it again.") from error


def itk_array(image: sitk.Image) -> np.ndarray:
    """Return the voxels of an image, axes x, y, z, components last.

    Args:
        image: a SimpleITK image.
    """
    array = sitk.GetArrayFromImage(image)
    rank = image.GetDimension()
    return array.transpose(*reversed(range(rank)), *range(rank, array.ndim))


def itk_affine(image: sitk.Image | sitk.ImageFileReader) -> np.ndarray:
    """Return the map from voxel indices to RAS mm, shape ``(rank + 1, rank + 1)``, with rank at most 3.

    Args:
        image: an image, or a reader that has read its header.
    """
    rank = image.GetDimension()
    kept = min(rank, 3)
    direction = np.reshape(image.GetDirection(), (rank, rank))[:kept, :kept]
    affine = np.eye(kept + 1)
    affine[:kept, :kept] = direction * np.asarray(image.GetSpacing())[:kept]
    affine[:kept, kept] = image.GetOrigin()[:kept]
    # From LPS, which ITK uses.
    return np.diag([-1.0, -1.0, *np.ones(kept - 1)]) @ affine
