"""The voxels of a DICOM series on a straight grid; SimpleITK (GDCM) decodes them."""

import os

import numpy as np
import SimpleITK as sitk

from medssl.scans.dicom import DicomSeries, damaged_slice, dicom_series
from medssl.scans.memory import itk_bytes, require_memory


def read_dicom(path: str | os.PathLike[str]) -> sitk.Image:
    """Read a series, scaled by slope and intercept of each slice, on the grid that its header describes.

    Slices of a tilted gantry are shifted onto a straight grid by linear interpolation; what lies outside a slice gets
    the lowest value of the series.

    Args:
        path: folder of the series, or one of its files.

    Raises:
        ValueError: if it cannot be read; names the folder or the slice.
    """
    series = dicom_series(path)
    files = series.files
    try:
        # Once as an image, once as an array.
        require_memory(path, 2 * itk_bytes(files[0]) * len(files))
        image = _image(series)
    except RuntimeError as error:
        raise ValueError(f"{damaged_slice(files) or path} cannot be read as an image; export it again.") from error
    if series.shifts.any():
        image = sitk.GetImageFromArray(_straightened(sitk.GetArrayFromImage(image), series))
    image.SetSpacing(series.spacing)
    image.SetOrigin(series.origin.tolist())
    image.SetDirection(series.axes.ravel().tolist())
    return image


def _image(series: DicomSeries) -> sitk.Image:
    """Return the slices in order; float32 where their scaling differs, since ITK casts all to the type of the first."""
    files = series.files
    differs = len({one.scaling for one in series.slices}) > 1
    if len(files) < len(series.slices):
        return _frames(series, differs)
    image = sitk.ReadImage(files, sitk.sitkFloat32) if differs else sitk.ReadImage(files)
    return image if image.GetDimension() == 3 else sitk.JoinSeries(image)


def _frames(series: DicomSeries, differs: bool) -> sitk.Image:
    if len(series.files) > 1:
        raise ValueError(f"{series.files[1]}: a series of several multi-frame files is not supported; export one file.")
    frames = sitk.GetArrayFromImage(sitk.ReadImage(series.files[0]))
    order = [one.frame for one in series.slices]
    if not differs:
        return sitk.GetImageFromArray(frames[order])
    # GDCM scales all frames by the numbers of the first.
    slope, intercept = next(one.scaling for one in series.slices if one.frame == 0)
    stored = np.rint((frames[order].astype(np.float64) - intercept) / slope)
    scaling = np.array([one.scaling for one in series.slices]).reshape(-1, 2, 1, 1)
    return sitk.GetImageFromArray((stored * scaling[:, 0] + scaling[:, 1]).astype(np.float32))


def _straightened(slices: np.ndarray, series: DicomSeries) -> np.ndarray:
    """Shift every slice to where it lies; axes z, y, x."""
    # Few series are tilted, and every command that reads scans would wait for it.
    from scipy import ndimage

    before, _ = series.margins
    columns, rows, count = series.shape
    lowest = slices.min()
    straight = np.full((count, rows, columns, *slices.shape[3:]), lowest, slices.dtype)
    for index, shift in enumerate(series.shifts):
        canvas = np.full((rows, columns), lowest, np.float32)
        canvas[before[1] :, before[0] :][: slices.shape[1], : slices.shape[2]] = slices[index]
        moved = ndimage.shift(canvas, shift[::-1], order=1, mode="nearest")
        straight[index] = moved if slices.dtype.kind == "f" else np.rint(moved)
    return straight
