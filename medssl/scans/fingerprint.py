"""A small picture of a scan, by which altered copies are found: noise, other intensities, a crop, another grid."""

from collections.abc import Sequence

import nibabel as nib
import numpy as np

# Copies of one scan were at least 0.91 alike, nearly all 0.92, and scans of different patients less than 0.92
# (benchmarks/near_duplicates.py).
LIKENESS = 0.92
# Cells along an edge of what is compared, how far it is moved, and cells along a scan's edge at least. Neighbours are
# much the same, so that every second cell is compared.
_WINDOW, _REACH, _LEAST, _EVERY = 16, 3, 24, 2
_CELLS = _WINDOW + 2 * _REACH
# Widths in cells of the two Gaussians whose difference is the detail that is kept, and how far the wider one reaches.
_FINE, _COARSE, _MARGIN = 1.0, 2.5, 6
# Distance of the samples, in cells.
_SAMPLED = 0.8
# Percent of the values beyond which they are cut, so that metal or padding does not set the scale.
_CUT = (2.0, 98.0)


def cell_size(shape: Sequence[int], affine: np.ndarray) -> float:
    """The edge in mm of the cells of fingerprints: a power of 2, of which 24 to 48 lie along a scan of this size.

    Fingerprints are comparable where they have the same cells, so take that of one scan for all of a list.

    Args:
        shape: voxels along each axis.
        affine: voxel index to RAS mm, shape ``(4, 4)``.

    Example:
        >>> cell_size((35, 50, 36), np.eye(4)), cell_size((512, 512, 100), np.diag([0.8, 0.8, 3.0, 1.0]))
        (1.0, 8.0)
    """
    edge = float(np.prod(np.array(shape) * _spacing(affine))) ** (1 / 3)
    return float(2.0 ** np.floor(np.log2(edge / _LEAST)))


def fingerprint(voxels: np.ndarray, affine: np.ndarray, cell: float) -> np.ndarray:
    """The detail in the middle of a scan on a coarse grid, shape ``(22, 22, 22)``; 0 outside the scan.

    Neither the order of the stored axes nor the place in space, the grid, or a change of all values by a factor and an
    offset matters much.

    Args:
        voxels: finite values with three axes.
        affine: voxel index to RAS mm, shape ``(4, 4)``.
        cell: edge of the grid's cells in mm, as `cell_size` gives it.
    """
    orientation = nib.io_orientation(affine)
    turned = nib.apply_orientation(voxels, orientation)
    spacing = _spacing(affine)[np.argsort(orientation[:, 0])]
    samples, places = turned, []
    for axis, (size, step) in enumerate(zip(turned.shape, spacing, strict=True)):
        # A sample in each cell is enough for Gaussians of a cell, and no more of the scan than they reach is touched.
        every = max(int(_SAMPLED * cell / step), 1)
        reach = min(int((_CELLS / 2 + 1.5 * _MARGIN) * cell / step / every) * every, (size - 1) // 2)
        taken = slice((size - 1) // 2 - reach, (size - 1) // 2 + reach + 1, every)
        samples = samples[(slice(None),) * axis + (taken,)]
        places.append(((np.arange(size)[taken] - (size - 1) / 2) * step / cell, size * step / cell / 2))
    values = np.array(samples, dtype=np.float32)
    low, high = np.percentile(values[::2, ::2, ::2], _CUT).astype(np.float32)
    np.clip(values, low, high, out=values)
    values -= low
    values /= max(high - low, np.finfo(np.float32).tiny)
    return _detail(values, places)


def _detail(values: np.ndarray, places: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    wide, inner = (np.arange(cells) - (cells - 1) / 2 for cells in (_CELLS + 2 * _MARGIN, _CELLS))
    within = [np.abs(wide) <= half for _, half in places]
    fine = _smooth(
        values, [_weights(place, wide, _FINE) * rows[:, None] for (place, _), rows in zip(places, within, strict=True)]
    )
    # The wider Gaussian from the narrower one: their variances add up.
    width = (_COARSE**2 - _FINE**2) ** 0.5
    coarse = _smooth(fine, [_weights(wide, inner, width, columns) for columns in within])
    core = slice(_MARGIN, _MARGIN + _CELLS)
    mask = np.einsum("i,j,k->ijk", *(columns[core] for columns in within))
    return np.where(mask, fine[core, core, core] - coarse, np.float32(0))


def middle_of(scan: np.ndarray) -> np.ndarray:
    """The middle of a fingerprint, standardised, as `likeness` compares it, shape ``(512,)``.

    Args:
        scan: its fingerprint.
    """
    middle = slice(_REACH, _REACH + _WINDOW, _EVERY)
    return _standardised(scan[middle, middle, middle].reshape(1, -1))[0]


def likeness(scan: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How alike a scan is to others: the largest correlation of their details over all small shifts; 1 for copies.

    Args:
        scan: its fingerprint.
        others: middles of the fingerprints of the others, with the same cells, shape ``(N, 512)``.

    Example:
        >>> scan = np.random.default_rng(0).normal(size=(40, 40, 40))
        >>> copy = fingerprint(2 * scan[:, 4:, :38] + 1, np.eye(4), 1.0)
        >>> likeness(fingerprint(scan, np.eye(4), 1.0), middle_of(copy)[None]).round(2)
        array([1.], dtype=float32)
    """
    windows = np.lib.stride_tricks.sliding_window_view(scan, (_WINDOW,) * 3)[..., ::_EVERY, ::_EVERY, ::_EVERY]
    shifted = windows.reshape((2 * _REACH + 1) ** 3, -1)
    return (_standardised(shifted) @ others.T).max(axis=0)


def _weights(places: np.ndarray, centres: np.ndarray, width: float, used: np.ndarray | None = None) -> np.ndarray:
    """Return the shares of samples at some places in the Gaussian means around centres, shape ``(centres, places)``."""
    weights = np.exp(-0.5 * ((places - centres[:, None]) / width) ** 2)
    weights *= 1 if used is None else used
    return (weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)).astype(np.float32)


def _smooth(values: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    for axis in weights:
        # The axis that is summed over comes first, and the new one last, so that three rounds restore the order.
        values = np.tensordot(values, axis, axes=(0, 1))
    return values


def _standardised(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _spacing(affine: np.ndarray) -> np.ndarray:
    return np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
