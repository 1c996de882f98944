"""Headers of volumes and images in one form for NIfTI, NRRD, MetaImage, DICOM and pictures."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from medssl.scans.dicom import dicom_series
from medssl.scans.itk_headers import itk_header
from medssl.scans.pictures import PICTURE_AFFINE, is_picture, read_picture
from medssl.scans.readers import NIFTI_ENDINGS, is_series, itk_affine
from medssl.scans.streams import nifti_dtype, nifti_header


@dataclass(frozen=True, eq=False)
class VolumeHeader:
    """The contents of a header.

    Attributes:
        path: the file or folder.
        shape: voxels along every stored axis; 4 axes for 4D files, 2 for 2D files and pictures.
        components: number of values in one voxel; 3 for RGB.
        is_complex: whether the values are complex.
        affine: voxel index to RAS mm, shape ``(4, 4)``, as MONAI will use it; may be singular or not finite.
        sform: affine of the NIfTI sform, ``None`` without one.
        qform: affine of the NIfTI qform, ``None`` without one.
        scaling: slope and intercept of NIfTI, ``(1, 0)`` elsewhere.
        notes: what a user should know of a DICOM series.
    """

    path: Path
    shape: tuple[int, ...]
    components: int
    is_complex: bool
    affine: np.ndarray
    sform: np.ndarray | None = None
    qform: np.ndarray | None = None
    scaling: tuple[float, float] = (1.0, 0.0)
    notes: tuple[str, ...] = ()

    @property
    def spatial_dims(self) -> int:
        """Number of spatial axes: 2 or 3."""
        return min(len(self.shape), 3)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Voxels along the three axes of the affine; 1 across a 2D image."""
        return (*self.shape[:3], 1, 1)[:3]

    @property
    def channels(self) -> int:
        """Number of volumes in the file: those along further axes, or the values of a voxel."""
        return math.prod(self.shape[3:]) * self.components

    @property
    def spacing(self) -> np.ndarray:
        """Distance in mm between neighbouring voxels along each spatial axis; the pixels of a picture have size 1."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)[: self.spatial_dims]

    @property
    def is_nifti(self) -> bool:
        """Whether the file is NIfTI."""
        return self.path.name.lower().endswith(NIFTI_ENDINGS)


def read_header(path: str | os.PathLike[str]) -> VolumeHeader:
    """Read the header of a scan without its voxels; only pictures are read whole.

    Args:
        path: NIfTI, NRRD, MetaImage, PNG, TIFF or BMP file, or folder or file of a DICOM series.

    Raises:
        ValueError: if the header cannot be read; the message names the file.
    """
    path = Path(path)
    if is_picture(path):
        return _picture(path)
    if is_series(path):
        return _dicom_header(path)
    try:
        return _nifti(path) if path.name.lower().endswith(NIFTI_ENDINGS) else _itk(path)
    except Exception as error:
        # nibabel's errors share no base class.
        # SimpleITK puts places in its own source before the reason.
        reason = str(error).rpartition("sitk::ERROR: ")[2]
        raise ValueError(f"{path} has no readable header ({reason}); save or download it again.") from error


def _picture(path: Path) -> VolumeHeader:
    # As an index mask, a picture with a palette can be read too; size and channels depend on nothing else.
    shape = read_picture(path, "index mask").shape
    return VolumeHeader(path, shape[:2], shape[2] if len(shape) == 3 else 1, False, PICTURE_AFFINE.copy())


def _nifti(path: Path) -> VolumeHeader:
    header = nifti_header(path)
    dtype = nifti_dtype(header)
    sform = np.asarray(header.get_sform(), float) if header["sform_code"] > 0 else None
    qform = _qform(header) if header["qform_code"] > 0 else None
    return VolumeHeader(
        path=path,
        shape=tuple(int(size) for size in header["dim"][1 : int(header["dim"][0]) + 1]),
        components=len(dtype.names) if dtype.names else 1,
        is_complex=dtype.kind == "c",
        affine=_nifti_affine(
            path, next((form for form in (sform, qform) if form is not None), header.get_base_affine())
        ),
        sform=sform,
        qform=qform,
        scaling=(float(header["scl_slope"]), float(header["scl_inter"])),
    )


def _nifti_affine(path: Path, stored: np.ndarray) -> np.ndarray:
    """Return the affine that MONAI will use: the qform where only that agrees with the header's spacing.

    An affine that nibabel would repair by guessing is returned as stored.
    """
    if not np.isfinite(stored).all() or not np.linalg.det(stored):
        return stored
    image = nib.load(path)
    rank = int(image.header["dim"][0])
    sizes = np.linalg.norm(image.affine[:rank, :rank], axis=0)
    if rank <= 3 and np.allclose(image.header.get_zooms(), sizes):
        return np.asarray(image.affine, float)
    # Few headers contradict themselves, and importing MONAI takes as long as reading hundreds.
    from monai.data.utils import correct_nifti_header_if_necessary

    return np.asarray(correct_nifti_header_if_necessary(image).affine, float)


def _qform(header: nib.Nifti1Header) -> np.ndarray:
    try:
        return np.asarray(header.get_qform(), float)
    except (ValueError, nib.spatialimages.HeaderDataError):
        # Not a rotation: treated as not finite, which whoever uses it judges.
        return np.full((4, 4), np.nan)


def _itk(path: Path) -> VolumeHeader:
    reader = itk_header(path)
    affine = np.eye(4)
    stored = itk_affine(reader)
    rank = len(stored) - 1
    affine[:rank, :rank] = stored[:rank, :rank]
    affine[:rank, 3] = stored[:rank, rank]
    return VolumeHeader(
        path=path,
        shape=tuple(reader.GetSize()),
        components=reader.GetNumberOfComponents(),
        is_complex="complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()),
        affine=affine,
    )


def _dicom_header(path: Path) -> VolumeHeader:
    series = dicom_series(path)
    return VolumeHeader(path, series.shape, series.slices[0].channels, False, series.affine, notes=series.notes)
