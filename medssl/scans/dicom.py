"""One DICOM series: its slices in order, the straight grid they lie on, and whether any is missing.

DICOM has no checksum. What can be tested is that the headers can be read and that the slices are evenly spaced; a
damaged slice is found when its pixels are decoded.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from medssl.scans.dicom_files import DicomSlice, FoundSeries, find_series, volumes_of

TOLERANCE_MM = 0.1
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """The slices of a series and their geometry, in mm of the patient (LPS).

    Attributes:
        slices: in the order of their positions.
        axes: unit vectors along a row, along a column and across the slices, as the columns of a ``(3, 3)`` matrix.
        positions: first voxel of every slice, shape ``(slices, 3)``.
        notes: what a user should know, one sentence each.
    """

    slices: list[DicomSlice]
    axes: np.ndarray
    positions: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        """The files, each once, in the order of the slices."""
        return list(dict.fromkeys(one.file for one in self.slices))

    @property
    def gaps(self) -> np.ndarray:
        """Distances between neighbouring slices, measured along their normal."""
        return np.diff(self.positions @ self.axes[:, 2])

    @property
    def shifts(self) -> np.ndarray:
        """How far each slice lies from the normal through the first, in voxels along row and column; 0 if untilted.

        Shape ``(slices, 2)``.
        """
        way = (self.positions - self.positions[0]) @ self.axes[:, :2]
        is_tilted = np.linalg.norm(way, axis=1).max() > TOLERANCE_MM
        return way / self.slices[0].spacing if is_tilted else np.zeros_like(way)

    @property
    def margins(self) -> tuple[np.ndarray, np.ndarray]:
        """Voxels that the straight grid needs before and behind a slice, along row and column."""
        shifts = np.round(self.shifts, 3)
        return -np.floor(shifts.min(axis=0)).astype(int), np.ceil(shifts.max(axis=0)).astype(int)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the straight grid along row, column and slices."""
        before, behind = self.margins
        columns, rows = np.array(self.slices[0].size) + before + behind
        return int(columns), int(rows), len(self.slices)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Spacing of the straight grid in mm."""
        across = float(self.gaps.mean()) if self.gaps.size else self.slices[0].thickness or 1.0
        return (*self.slices[0].spacing, across)

    @property
    def origin(self) -> np.ndarray:
        """Position of the first voxel of the straight grid."""
        before, _ = self.margins
        return self.positions[0] - self.axes[:, :2] @ (before * self.slices[0].spacing)

    @property
    def affine(self) -> np.ndarray:
        """Map from the voxels of the straight grid to RAS mm."""
        affine = np.eye(4)
        affine[:3, :3] = self.axes * self.spacing
        affine[:3, 3] = self.origin
        return _LPS_TO_RAS @ affine


def dicom_series(path: str | os.PathLike[str]) -> DicomSeries:
    """Read the headers of a DICOM series and require that no slice is missing.

    Of several series, the one with most slices is taken, which a note says; `medssl.scans.dicom_files` says what is
    left aside.

    Args:
        path: folder, searched with all below it; or a DICOM file, which stands for its series in its own folder.

    Raises:
        ValueError: if there is no series, a file is damaged, or slices are missing, duplicated, unevenly spaced, or of
            different sizes or orientations; names the folder or the file.
    """
    found, aside = find_series(path)
    if not found:
        raise ValueError(_no_series(path, aside))
    first, *volumes = volumes_of(found[0])
    series = _ordered(Path(path), first)
    _require_even(Path(path), series)
    notes = (*_choice_notes(found, len(volumes)), *_aside_notes(aside), *_gap_notes(series), *_tilt_notes(series))
    if len(found) > 1 or volumes:
        logger.warning("%s: %s.", path, notes[0])
    return DicomSeries(series.slices, series.axes, series.positions, notes)


def series_path(folder: Path, choice: str | None = None) -> Path:
    """Return the path that stands for one series below a folder: a folder, or one of the files of a series.

    Args:
        folder: searched with all below it.
        choice: UID, number or a part of the description of a series; ``None``: the one with most slices, which is
            logged where there are several.

    Raises:
        ValueError: if there is no series or not the chosen one, or its files lie in several folders beside others.
    """
    found, aside = find_series(folder)
    if not found:
        raise ValueError(_no_series(folder, aside))
    fitting = [series for series in found if choice is None or series.matches(choice)]
    if not fitting:
        raise ValueError(f"{folder} has no series '{choice}'; it holds {'; '.join(map(str, found))}.")
    if len(found) == 1:
        return folder
    if choice is None:
        logger.warning("%s: %s.", folder, _choice_notes(found, 0)[0])
    files = [Path(one.file) for one in fitting[0].slices]
    if len({file.parent for file in files}) > 1:
        raise ValueError(f"{folder}: the files of {fitting[0]} lie in several folders; put them into one of their own.")
    is_alone = sum(Path(series.slices[0].file).parent == files[0].parent for series in found) == 1
    return files[0].parent if is_alone else files[0]


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


def _ordered(path: Path, slices: list[DicomSlice]) -> DicomSeries:
    lacking = next((one for one in slices if one.position is None or one.rows is None), None)
    if lacking is not None and len(slices) > 1:
        text = "has no position or orientation of its slices"
        raise ValueError(f"{lacking.file} {text}; export it as enhanced DICOM, as one file a slice, or as NIfTI.")
    first = slices[0]
    rows = np.eye(3)[:2] if first.rows is None else first.rows
    axes = np.stack([*rows, np.cross(*rows)], axis=1)
    for one in slices[1:]:
        same = (one.size, one.channels) == (first.size, first.channels) and np.allclose(
            one.spacing, first.spacing, 1e-4
        )
        if not same or not np.allclose(one.rows, rows, atol=1e-3):
            raise ValueError(f"{one.file} differs in size or orientation from {first.file}; remove it from the series.")
    positions = np.array([np.zeros(3) if one.position is None else one.position for one in slices])
    order = np.argsort(positions @ axes[:, 2], kind="stable")
    return DicomSeries([slices[index] for index in order], axes, positions[order])


def _require_even(path: Path, series: DicomSeries) -> None:
    gaps = series.gaps
    if not gaps.size:
        return
    usual = float(np.median(gaps))
    if usual < TOLERANCE_MM:
        raise ValueError(f"{path} holds several slices at one position; keep one slice for each position.")
    sideways = np.diff((series.positions - series.positions[0]) @ series.axes[:, :2], axis=0)
    drift = np.median(sideways, axis=0)
    if np.linalg.norm(drift) > usual or np.abs(sideways - drift).max() > TOLERANCE_MM:
        crooked = int(np.argmax(np.abs(sideways - drift).max(axis=1)))
        raise ValueError(
            f"{path}: its slices do not lie on a line, not even a tilted one: look at {_name(series.slices[crooked])} "
            f"and {_name(series.slices[crooked + 1])}; export the whole series again."
        )
    worst = int(np.argmax(np.abs(gaps - usual)))
    if abs(gaps[worst] - usual) > TOLERANCE_MM:
        between = [_name(one) for one in series.slices[worst : worst + 2]]
        raise ValueError(
            f"{path} lacks slices or spaces them unevenly: {gaps[worst]:.2f} mm between {between[0]} and {between[1]}, "
            f"but {usual:.2f} mm elsewhere; export the whole series again."
        )


def _name(one: DicomSlice) -> str:
    return Path(one.file).name + (f" frame {one.frame + 1}" if one.frame else "")


def _no_series(path: str | os.PathLike[str], aside: list[str]) -> str:
    left = f" (but {', '.join(aside)})" if aside else ""
    return f"{path} holds no DICOM series{left}; give the folder that contains the slices."


def _choice_notes(found: list[FoundSeries], num_others: int) -> list[str]:
    notes = []
    if len(found) > 1:
        listed = "; ".join(map(str, found[1:4])) + ("; …" if found[4:] else "")
        notes.append(f"it holds {len(found)} DICOM series, and {found[0]} is used, not {listed}; --series chooses one")
    if num_others:
        text = f"its series holds {num_others + 1} volumes (acquisitions, time points or echoes)"
        notes.append(f"{text}, and the first with most slices is used; export the one you want")
    return notes


def _aside_notes(aside: list[str]) -> list[str]:
    # An index lies on every disc.
    named = [text for text in aside if "index" not in text]
    return [f"beside the slices lie {', '.join(named)}, which are left aside"] if named else []


def _gap_notes(series: DicomSeries) -> list[str]:
    thickness, gap = series.slices[0].thickness, series.spacing[2]
    if not series.gaps.size or not thickness or gap <= 1.5 * thickness:
        return []
    text = f"its slices are {thickness:g} mm thick but {gap:.4g} mm apart"
    return [f"{text}: every second one may be missing; check the export"]


def _tilt_notes(series: DicomSeries) -> list[str]:
    drift = float(np.linalg.norm(series.shifts[-1] * series.slices[0].spacing))
    if drift == 0:
        return []
    text = f"its slices drift sideways by {drift:.1f} mm (tilted gantry)"
    return [f"{text}; they are resampled to a straight grid, on which labels must lie too"]
