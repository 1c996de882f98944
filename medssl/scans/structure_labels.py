"""The label map of a DICOM SEG or RTSTRUCT file on the grid of its scan."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.scans.contours import contour_masks
from medssl.scans.dicom import dicom_series
from medssl.scans.geometry import Problem
from medssl.scans.headers import VolumeHeader, read_header
from medssl.scans.integrity import WholeVolume
from medssl.scans.memory import ScanTooLargeError
from medssl.scans.planes import Grid, plane_masks
from medssl.scans.readers import is_series
from medssl.scans.structures import CONTOURS, StructureFile, open_structures, read_dicom_header


@dataclass(frozen=True, eq=False)
class StructureLabels:
    """The label map of a DICOM SEG or RTSTRUCT file.

    Attributes:
        header: of the grid of the scan.
        voxels: label values, axes x, y, z of the scan.
        notes: what a user should know, one sentence each.
    """

    header: VolumeHeader
    voxels: np.ndarray
    notes: tuple[str, ...]


def read_structures(
    path: str | os.PathLike[str], scan: str | os.PathLike[str], labels: Mapping[int, str]
) -> StructureLabels:
    """Return the label map of a DICOM SEG or RTSTRUCT file on the grid of its scan.

    Structures get the label of their name; upper and lower case are one, and two of one name are joined. Others are
    left aside. Where two overlap, the one with the higher label value wins. A voxel belongs to a contour if its centre
    lies inside it or on it; contours inside others are holes. Fractional segments count from 0.5 up.

    Args:
        path: the file, or a folder that holds nothing else.
        scan: what it belongs to: a DICOM series, or a volume that was made of it and lies at the same place.
        labels: name of every label value, including 0 = background.

    Raises:
        ValueError: if the file is damaged, belongs to another scan, does not lie on its grid, or lacks a structure;
            names the file.
    """
    found = open_structures(path)
    grid = _grid(scan)
    _require_same_scan(found, Path(scan))
    wanted = {value: name for value, name in labels.items() if value != 0}
    numbers = _numbers(found, wanted)
    voxels = np.zeros(grid.shape, np.uint8 if max(labels, default=0) < 256 else np.uint16)
    notes = _aside_notes(found, numbers)
    try:
        for value, mask, note in _masks(found, numbers, grid):
            notes += [note] if note else []
            notes += _overlap_notes(voxels, mask, labels, value)
            voxels[mask] = value
    except (ScanTooLargeError, MemoryError):
        raise
    except Exception as error:
        # pydicom's and its decoders' errors share no base class.
        raise ValueError(f"{found.path} cannot be used with {scan}: {error}") from error
    header = VolumeHeader(Path(path), grid.shape, 1, False, grid.affine)
    return StructureLabels(header, voxels, tuple(notes))


def whole_structures(
    path: str | os.PathLike[str], scan: str | os.PathLike[str], labels: Mapping[int, str], spatial_dims: int = 3
) -> WholeVolume:
    """Read a DICOM SEG or RTSTRUCT file, or list the problems that prevent it; see `read_structures`."""
    if spatial_dims != 3:
        return WholeVolume([Problem("error", "a DICOM segmentation labels a volume; cut both with `medssl slices`.")])
    try:
        read = read_structures(path, scan, labels)
    except ValueError as error:
        return WholeVolume([Problem("error", str(error))])
    return WholeVolume([Problem("warning", f"{note}.") for note in read.notes], read.header, read.voxels)


def _grid(scan: str | os.PathLike[str]) -> Grid:
    if is_series(scan):
        series = dicom_series(scan)
        return Grid(series.shape, series.affine, bool(series.shifts.any()))
    header = read_header(scan)
    return Grid(header.grid, header.affine)


def _require_same_scan(found: StructureFile, scan: Path) -> None:
    if not is_series(scan):
        # Other formats do not say which series they were made of; the grid alone must fit.
        return
    tags = ["SeriesInstanceUID", "FrameOfReferenceUID"]
    header = read_dicom_header(Path(dicom_series(scan).slices[0].file), tags)
    series, reference = (str(header.get(tag, "")) for tag in tags)
    if found.series and series and series not in found.series:
        raise ValueError(
            f"{found.path} belongs to the series {', '.join(sorted(found.series))}, but {scan} is {series}; give the "
            "segmentation of this series."
        )
    if found.frame_of_reference and reference and reference != found.frame_of_reference:
        raise ValueError(
            f"{found.path} has the frame of reference {found.frame_of_reference}, but {scan} has {reference}; give the "
            "segmentation of this scan."
        )


def _numbers(found: StructureFile, wanted: Mapping[int, str]) -> dict[int, list[int]]:
    """Return the numbers of the structures of every label value; raises ValueError if a name is not there."""
    plain = {number: name.strip().casefold() for number, name in found.names.items()}
    numbers = {
        value: [number for number, other in plain.items() if other == name.strip().casefold()]
        for value, name in wanted.items()
    }
    missing = [wanted[value] for value, fitting in numbers.items() if not fitting]
    if missing:
        listed = ", ".join(dict.fromkeys(found.names.values())) or "none"
        raise ValueError(
            f"{found.path} has no structure {', '.join(repr(name) for name in missing)}; it has {listed}. Name them "
            "in 'labels' as they are there; a structure that this scan lacks must be there without voxels."
        )
    return numbers


def _masks(
    found: StructureFile, numbers: Mapping[int, Sequence[int]], grid: Grid
) -> Iterator[tuple[int, np.ndarray, str]]:
    masks = contour_masks if found.data.SOPClassUID == CONTOURS else plane_masks
    return masks(found.data, numbers, grid)


def _aside_notes(found: StructureFile, numbers: Mapping[int, Sequence[int]]) -> list[str]:
    used = {number for fitting in numbers.values() for number in fitting}
    others = dict.fromkeys(name for number, name in found.names.items() if number not in used)
    return [f"its structures {', '.join(others)} are not among the labels and are left aside"] if others else []


def _overlap_notes(voxels: np.ndarray, mask: np.ndarray, labels: Mapping[int, str], value: int) -> list[str]:
    covered = np.bincount(voxels[mask], minlength=1)
    return [
        f"'{labels[other]}' and '{labels[value]}' share {covered[other]} voxels, which become '{labels[value]}'"
        for other in np.flatnonzero(covered[1:]) + 1
    ]
