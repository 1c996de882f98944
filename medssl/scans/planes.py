"""The frames of a DICOM SEG, each placed on the grid of a scan by its position."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pydicom

from medssl.scans.dicom_files import frame_slices
from medssl.scans.geometry import SAME_GRID
from medssl.scans.memory import require_memory

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# What most compresses an empty mask; more is a damaged number.
_MOST_PACKED = 10_000


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxels of a scan.

    Attributes:
        shape: along x, y and z.
        affine: voxel index to RAS mm, shape ``(4, 4)``.
        is_tilted: whether slices of a tilted gantry were shifted onto it, so that their pixels lie between its voxels.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    is_tilted: bool = False

    def indices(self, points: np.ndarray) -> np.ndarray:
        """Return the voxel coordinates of points in LPS mm, shape ``(N, 3)``; centres of voxels are whole numbers."""
        inverse = np.linalg.inv(_LPS_TO_RAS @ self.affine)
        return points @ inverse[:3, :3].T + inverse[:3, 3]


def plane_masks(
    data: pydicom.Dataset, numbers: Mapping[int, Sequence[int]], grid: Grid
) -> Iterator[tuple[int, np.ndarray, str]]:
    """Yield the mask of every label value on a grid, in ascending order, with an empty note.

    Args:
        data: a DICOM SEG, of any type: binary, fractional or label map.
        numbers: of the segments of each label value.
        grid: of the scan.

    Raises:
        ValueError: if a frame that is not empty does not lie on a plane of the grid.
    """
    pixels = _pixels(data)
    places = [_Place.of_slice(one, grid) for one in frame_slices(str(data.filename or "it"), data, len(pixels))]
    is_label_map = data.get("SegmentationType") == "LABELMAP"
    segments = [0] * len(pixels) if is_label_map else _segments(data, len(pixels))
    for value in sorted(numbers):
        mask = np.zeros(grid.shape, bool)
        for index, place in enumerate(places):
            if is_label_map:
                frame = np.isin(pixels[index], numbers[value])
            elif segments[index] in numbers[value]:
                frame = pixels[index] >= _threshold(data)
            else:
                continue
            if frame.any():
                place.add(frame.T, mask)
        yield value, mask, ""


def _pixels(data: pydicom.Dataset) -> np.ndarray:
    frames, rows, columns = int(data.get("NumberOfFrames") or 1), int(data.Rows), int(data.Columns)
    bits = int(data.BitsAllocated)
    if min(frames, rows, columns) < 1 or frames * rows * columns * bits > 8 * _MOST_PACKED * len(data.PixelData):
        raise ValueError(f"its header says {frames} frames of {columns} x {rows}, which it cannot hold")
    require_memory(data.filename or "The segmentation", 2 * frames * rows * columns)
    return data.pixel_array.reshape(frames, rows, columns)


def _threshold(data: pydicom.Dataset) -> float:
    return 0.5 * int(data.MaximumFractionalValue) if data.SegmentationType == "FRACTIONAL" else 1


def _segments(data: pydicom.Dataset, count: int) -> list[int]:
    """Return the number of the segment of every frame."""
    shared = data.SharedFunctionalGroupsSequence[0]
    frames = data.PerFrameFunctionalGroupsSequence
    if len(frames) != count:
        raise ValueError(f"it describes {len(frames)} of its {count} frames")
    groups = [frame if "SegmentIdentificationSequence" in frame else shared for frame in frames]
    return [int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber) for group in groups]


@dataclass(frozen=True)
class _Place:
    """Where the pixels of a frame lie on a grid.

    Attributes:
        axes: of the grid along the columns and the rows of the frame, and across it.
        signs: 1 or -1 along the first two.
        start: voxel of the first pixel.
        problem: why the frame does not lie on the grid; empty if it does.
    """

    axes: tuple[int, int, int]
    signs: tuple[int, int]
    start: tuple[int, int, int]
    problem: str

    @classmethod
    def of_slice(cls, one, grid: Grid) -> "_Place":
        if one.position is None or one.rows is None:
            raise ValueError("its frames have no position or orientation")
        steps = one.rows * np.array(one.spacing)[:, None]
        corners = grid.indices(one.position + np.stack([np.zeros(3), *steps]))
        first, ways = corners[0], corners[1:] - corners[0]
        whole = np.rint(ways).astype(int)
        along = [int(np.argmax(np.abs(way))) for way in ways]
        across = ({0, 1, 2} - set(along)).pop()
        # A rounded step adds up over the frame.
        drift = np.abs((ways - whole) * (np.array(one.size)[:, None] - 1)).max()
        off = np.abs(first - np.rint(first))
        if grid.is_tilted:
            off[along] = 0
        is_straight = along[0] != along[1] and (np.abs(whole).sum(axis=1) == 1).all() and drift <= SAME_GRID
        problem = "" if is_straight else "its pixels have another size or direction than the voxels of the scan"
        if is_straight and off.max() > SAME_GRID:
            problem = f"its frames lie up to {off.max():.2f} voxels beside those of the scan"
        signs = tuple(int(whole[index, axis]) or 1 for index, axis in enumerate(along))
        return cls((*along, across), signs, tuple(np.rint(first).astype(int).tolist()), problem)

    def add(self, frame: np.ndarray, mask: np.ndarray) -> None:
        """Set the voxels of a mask where a frame (columns, rows) is true; raises ValueError if they are not there."""
        if self.problem:
            raise ValueError(f"{self.problem}; resample it onto the scan")
        places = np.nonzero(frame)
        index = [np.empty(0)] * 3
        for axis, sign, way in zip(self.axes[:2], self.signs, places, strict=True):
            index[axis] = self.start[axis] + sign * way
        index[self.axes[2]] = np.full(len(places[0]), self.start[self.axes[2]])
        if any(way.min() < 0 or way.max() >= size for way, size in zip(index, mask.shape, strict=True)):
            raise ValueError("it reaches beyond the scan; give the scan that it was drawn on")
        mask[tuple(index)] = True
