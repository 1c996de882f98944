"""DICOM series in folders: the slices in order, and whether any is missing.

DICOM has no checksum. What can be tested is that a folder holds one series, that every DICOM file belongs to it, and
that the slices are evenly spaced; a damaged slice is found when its pixels are decoded.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

_POSITION, _ORIENTATION = "0020|0032", "0020|0037"
TOLERANCE_MM = 0.1


@dataclass(frozen=True, eq=False)
class SliceGeometry:
    """Positions of the slices of a series, in mm of the patient (LPS).

    Attributes:
        size: number of columns and rows of a slice.
        spacing: distance between columns and between rows.
        axes: unit vectors along a row, along a column and across the slices, as the columns of a ``(3, 3)`` matrix.
        positions: first voxel of every slice, shape ``(slices, 3)``, in the order of the files.
    """

    size: tuple[int, int]
    spacing: tuple[float, float]
    axes: np.ndarray
    positions: np.ndarray

    @property
    def gaps(self) -> np.ndarray:
        """Distances between neighbouring slices, measured along their normal."""
        return np.diff(self.positions @ self.axes[:, 2])

    @property
    def drift(self) -> float:
        """Distance of the last slice from the normal through the first: 0 unless the gantry was tilted."""
        way = self.positions[-1] - self.positions[0]
        return float(np.linalg.norm(way - self.axes[:, 2] * (way @ self.axes[:, 2])))


def series_files(folder: Path) -> list[str]:
    """List the files of the one DICOM series in a folder, ordered by position.

    Args:
        folder: contains the slices directly; sub-folders are not read.

    Raises:
        ValueError: if there is no series or more than one: a case is the path of a folder, so a folder is one series.
    """
    try:
        has_files = any(item.is_file() for item in folder.iterdir())
        found = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)) if has_files else ()
    except RuntimeError as error:
        raise ValueError(f"{folder} holds a damaged DICOM file; copy or export the series again.") from error
    if not found:
        raise ValueError(f"{folder} holds no DICOM series; give the folder that contains the slices directly.")
    if len(found) > 1:
        counts = ", ".join(f"{uid} ({len(_files(folder, uid))} files)" for uid in found)
        raise ValueError(f"{folder} holds {len(found)} DICOM series; put each into a folder of its own: {counts}.")
    return list(_files(folder, found[0]))


def require_one_series(folder: Path) -> None:
    """Require that a folder holds one complete DICOM series with evenly spaced slices.

    Args:
        folder: folder of the series.

    Raises:
        ValueError: if there is no series or more than one, a DICOM file does not belong to it, or slices are missing,
            duplicated or unevenly spaced.
    """
    files = series_files(folder)
    left_out = sorted({item for item in folder.iterdir() if _is_dicom(item)} - {Path(file) for file in files})
    if left_out:
        raise ValueError(f"{left_out[0]} is damaged or belongs to another DICOM series; repair or remove it.")
    gaps = slice_geometry(files).gaps
    if not gaps.size:
        return
    usual = float(np.median(gaps))
    if usual < TOLERANCE_MM:
        raise ValueError(f"{folder} holds several slices at one position; keep one slice for each position.")
    worst = int(np.argmax(np.abs(gaps - usual)))
    if abs(gaps[worst] - usual) > TOLERANCE_MM:
        raise ValueError(
            f"{folder} lacks slices or spaces them unevenly: {gaps[worst]:.2f} mm between {Path(files[worst]).name} "
            f"and {Path(files[worst + 1]).name}, but {usual:.2f} mm elsewhere; export the whole series again."
        )


def slice_geometry(files: list[str]) -> SliceGeometry:
    """Read the positions of the slices of a series from the tags of every file.

    Args:
        files: slices, ordered by position.

    Raises:
        ValueError: if a file has no position or orientation, or differs from the first in size or orientation.
    """
    positions, first = [], None
    for file in files:
        reader = _header(file)
        rows = _numbers(reader, _ORIENTATION, 6, file).reshape(2, 3)
        axes = np.stack([*rows, np.cross(*rows)], axis=1)
        size, spacing = reader.GetSize()[:2], reader.GetSpacing()[:2]
        first = first or SliceGeometry(size, spacing, axes, np.empty((0, 3)))
        if size != first.size or not np.allclose(axes, first.axes, atol=1e-3):
            raise ValueError(f"{file} differs in size or orientation from {files[0]}; remove it from the series.")
        positions.append(_numbers(reader, _POSITION, 3, file))
    return SliceGeometry(first.size, first.spacing, first.axes, np.array(positions))


def damaged_slice(files: list[str]) -> str | None:
    """Find the first file whose pixels cannot be decoded; ``None`` if all can.

    Args:
        files: slices of the series.
    """
    for file in files:
        try:
            sitk.ReadImage(file)
        except RuntimeError:
            return file
    return None


def _files(folder: Path, uid: str) -> tuple[str, ...]:
    return sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)


def _is_dicom(path: Path) -> bool:
    if not path.is_file() or path.name.upper() == "DICOMDIR":
        return False
    with path.open("rb") as handle:
        return handle.read(132)[128:] == b"DICM"


def _header(file: str) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(f"{file} is not a readable DICOM slice; copy or download it again.") from error
    return reader


def _numbers(reader: sitk.ImageFileReader, tag: str, count: int, file: str) -> np.ndarray:
    try:
        numbers = np.array(reader.GetMetaData(tag).split("\\"), dtype=float)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{file} has no numbers in DICOM tag ({tag.replace('|', ',')}).") from error
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{file} needs {count} finite numbers in DICOM tag ({tag.replace('|', ',')}).")
    return numbers
