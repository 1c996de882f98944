"""The contours of a DICOM RTSTRUCT, filled on the grid of a scan."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pydicom

from medssl.scans.geometry import SAME_GRID
from medssl.scans.planes import Grid

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
# Contours that were drawn through the centres of voxels pass beside them by what the text of a coordinate rounds.
_DIGITS = 3
_INSIDE = 1


def contour_masks(
    data: pydicom.Dataset, numbers: Mapping[int, Sequence[int]], grid: Grid
) -> Iterator[tuple[int, np.ndarray, str]]:
    """Yield the mask of every label value on a grid, in ascending order, with a note if slices lack contours.

    A voxel belongs to a structure if its centre lies inside an odd number of contours, or on one. So a contour inside
    another is a hole, and so is what a keyhole leaves out.

    Args:
        data: a DICOM RTSTRUCT.
        numbers: of the structures (ROIs) of each label value.
        grid: of the scan.

    Raises:
        ValueError: if a contour lies between the slices of the grid or beyond it, or a structure has only points or
            open lines.
    """
    listed = {int(roi.ReferencedROINumber): roi for roi in data.get("ROIContourSequence") or []}
    for value in sorted(numbers):
        slices: dict[tuple[int, int, int], list[np.ndarray]] = {}
        for number in numbers[value]:
            for contour in _closed(listed.get(number), number):
                axis, place, points = _in_slice(grid.indices(contour), grid)
                slices.setdefault((number, axis, place), []).append(points)
        mask = np.zeros(grid.shape, bool)
        for (_, axis, place), contours in slices.items():
            plane = np.moveaxis(mask, axis, 0)[place]
            plane |= _filled(contours, plane.shape)
        yield value, mask, _gap_note([place for _, _, place in slices])


def _closed(roi: pydicom.Dataset | None, number: int) -> list[np.ndarray]:
    """Return the closed contours of a structure in LPS mm, each once."""
    contours = [] if roi is None else list(roi.get("ContourSequence") or [])
    kinds = [str(contour.ContourGeometricType) for contour in contours]
    closed = [_points(contour) for contour, kind in zip(contours, kinds, strict=True) if kind in _CLOSED]
    if contours and not closed:
        raise ValueError(f"its structure {number} has no closed contour but {kinds[0]}; draw closed contours")
    # Twice the same contour would be a hole of itself.
    return list({points.tobytes(): points for points in closed if len(points) > 2}.values())


def _points(contour: pydicom.Dataset) -> np.ndarray:
    stored = contour.get_item("ContourData").value
    # pydicom would make an object of every number.
    numbers = np.array(stored.split(b"\\") if isinstance(stored, bytes) else stored, dtype=float)
    if not np.isfinite(numbers).all():
        raise ValueError("a contour has coordinates that are not finite")
    return numbers.reshape(-1, 3)


def _in_slice(points: np.ndarray, grid: Grid) -> tuple[int, int, np.ndarray]:
    """Return the axis across a contour, its slice, and its points in that slice."""
    # The last axis where a contour is so small that two would do.
    axis = 2 - int(np.argmin(np.round(np.ptp(points, axis=0), _DIGITS)[::-1]))
    across = points[:, axis]
    place = int(np.rint(np.median(across)))
    away = float(np.abs(across - place).max())
    if away > SAME_GRID:
        raise ValueError(f"a contour lies {away:.2f} voxels beside the slices of the scan; draw it on its slices")
    if not 0 <= place < grid.shape[axis]:
        raise ValueError("a contour lies beyond the scan; give the scan that it was drawn on")
    return axis, place, np.round(np.delete(points, axis, axis=1), _DIGITS)


def _filled(contours: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    # Few labels are contours, and every command that reads scans would wait for it.
    from skimage.measure import grid_points_in_poly

    inside, on_edge = np.zeros(shape, bool), np.zeros(shape, bool)
    for points in contours:
        low = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, shape)
        if (high <= low).any():
            continue
        box = tuple(slice(*sides) for sides in zip(low, high, strict=True))
        where = grid_points_in_poly(tuple(high - low), points - low, binarize=False)
        inside[box] ^= where == _INSIDE
        on_edge[box] |= where > _INSIDE
    return inside | on_edge


def _gap_note(places: Sequence[int]) -> str:
    steps = np.diff(sorted(set(places)))
    if not steps.size or np.median(steps) <= 1:
        return ""
    return f"its contours lie {int(np.median(steps))} slices apart, and the slices between them stay background"
