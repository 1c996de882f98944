"""A small picture of a scan, by which altered copies are found: noise, other intensities, a crop, another grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from medssl.scans.orientation import ras_orientation, turned_to_ras

# Copies of one scan were at least 0.91 alike, nearly all 0.92, and scans of different patients less than 0.92
# (benchmarks/near_duplicates.py).
LIKENESS = 0.92
# What copies reach at every second shift: at least 0.73 were seen.
_NEAR = 0.7
# Cells along an edge of what is compared, how far it is moved, and cells along a scan's edge at least. Neighbours are
# much the same, so that every second cell is compared.
_WINDOW, _REACH, _LEAST, _EVERY = 16, 3, 24, 2
_CELLS = _WINDOW + 2 * _REACH
# The cells of a fingerprint, and those of its middle that are compared.
_ALL, _MIDDLE = slice(None), slice(_REACH, _REACH + _WINDOW, _EVERY)
# Widths in cells of the two Gaussians whose difference is the detail that is kept, and how far beyond a cell the
# scan is looked at.
_FINE, _COARSE, _MARGIN = 1.0, 2.5, 7
# Distance of the samples, in cells.
_SAMPLED = 0.8
# Parts of the values beyond which they are cut, so that metal or padding does not set the scale.
_CUT = (0.02, 0.98)


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
    return _detail(voxels, affine, cell, _ALL)


def middle(voxels: np.ndarray, affine: np.ndarray, cell: float) -> np.ndarray:
    """The middle of the fingerprint of a scan, standardised, shape ``(512,)``: all that scans in training need.

    Args:
        voxels: finite values with three axes.
        affine: voxel index to RAS mm, shape ``(4, 4)``.
        cell: edge of the grid's cells in mm, as `cell_size` gives it.
    """
    return _standardised(_detail(voxels, affine, cell, _MIDDLE))


def middle_of(scan: np.ndarray) -> np.ndarray:
    """The middle of a fingerprint, standardised, as `likeness` compares it, shape ``(512,)``.

    Args:
        scan: its fingerprint.
    """
    return _standardised(scan[_MIDDLE, _MIDDLE, _MIDDLE])


def likeness(scan: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How alike a scan is to others: the largest correlation of their details over small shifts; 1 for copies.

    Others that are less than 0.7 alike at every second shift are not compared at the shifts between, where they may be
    a little more alike.

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
    # Copies are much alike at every second shift too, so that most others need not be looked at further.
    alike = _correlations(windows[1::2, 1::2, 1::2], others)
    near = np.flatnonzero(alike >= _NEAR)
    if near.size:
        alike[near] = _correlations(windows, others[near])
    return alike


def _correlations(windows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the largest correlation of each of the others with a window."""
    shifted = windows.reshape(-1, others.shape[1])
    # The others have the mean 0, so that the mean of a window matters for its norm alone.
    squares = np.einsum("ij,ij->i", shifted, shifted) - shifted.sum(axis=1) ** 2 / shifted.shape[1]
    shares = shifted @ others.T
    shares /= np.sqrt(np.maximum(squares, np.finfo(np.float32).tiny))[:, None]
    return shares.max(axis=0)


@dataclass(frozen=True, eq=False)
class _Axis:
    """Samples along an axis, and their shares in the narrow and in the wide mean around each cell.

    Attributes:
        taken: the samples.
        some: a few of those that the middle needs, which tell the usual values.
        shares: shape ``(2, cells, samples)``; 0 for cells outside the scan.
    """

    taken: slice
    some: slice
    shares: np.ndarray


def _detail(voxels: np.ndarray, affine: np.ndarray, cell: float, cells: slice) -> np.ndarray:
    turned = turned_to_ras(voxels, affine)
    steps = _spacing(affine)[np.argsort(ras_orientation(affine)[:, 0])] / cell
    axes = [_axis(size, step, cells == _ALL) for size, step in zip(turned.shape, steps.tolist(), strict=True)]
    low, high = _usual(turned[tuple(axis.some for axis in axes)])
    # The order of NIfTI files, in which this copies fastest, and one that BLAS can take as it is.
    values = np.ascontiguousarray(turned[tuple(axis.taken for axis in axes)].T, dtype=np.float32)
    np.clip(values, low, high, out=values)
    values -= low
    narrow, wide = _means(values, *(axis.shares for axis in axes))
    return (narrow - wide) / max(high - low, np.finfo(np.float32).tiny)


@lru_cache(maxsize=512)
def _axis(size: int, step: float, is_whole: bool) -> _Axis:
    cells = np.arange(_CELLS) - (_CELLS - 1) / 2
    # A sample in each cell is enough for Gaussians of a cell, and no more of the scan than they reach is touched.
    every, last = max(int(_SAMPLED / step), 1), (size - 1) // 2

    def around(used: np.ndarray) -> int:
        return min(int((np.abs(used).max() + _MARGIN) / step / every), last // every) * every

    few = around(cells[_MIDDLE])
    cells = cells if is_whole else cells[_MIDDLE]
    reach = around(cells)
    taken = slice(last - reach, last + reach + 1, every)
    places = (np.arange(size)[taken] - (size - 1) / 2) * step
    inside = np.abs(cells) <= size * step / 2
    shares = np.stack([_shares(places, cells, width) * inside[:, None] for width in (_FINE, _COARSE)])
    return _Axis(taken, slice(last - few, last + few + 1, 3 * every), shares)


def _shares(places: np.ndarray, centres: np.ndarray, width: float) -> np.ndarray:
    """Return the shares of samples at some places in the Gaussian means around centres, shape ``(centres, places)``."""
    weights = np.exp(-0.5 * ((places - centres[:, None]) / width) ** 2)
    return (weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)).astype(np.float32)


def _usual(values: np.ndarray) -> tuple[np.float32, np.float32]:
    """Return the values between which all but the rarest lie."""
    flat = values.ravel()
    ranks = [round(part * (flat.size - 1)) for part in _CUT]
    low, high = np.partition(flat, ranks)[ranks].astype(np.float32)
    return low, high


def _means(values: np.ndarray, along_x: np.ndarray, along_y: np.ndarray, along_z: np.ndarray) -> np.ndarray:
    """Return the narrow and the wide means of values with the axes z, y, x, shape ``(2, x, y, z)``."""
    depth, height, width = values.shape
    found = along_z.reshape(-1, depth) @ values.reshape(depth, -1)
    # Both means at once, then the axes of each.
    found = along_y[:, None] @ found.reshape(2, -1, height, width) @ along_x.transpose(0, 2, 1)[:, None]
    return found.transpose(0, 3, 2, 1)


def _standardised(values: np.ndarray) -> np.ndarray:
    centred = values.ravel() - values.mean()
    return centred / max(np.sqrt(centred @ centred), np.finfo(np.float32).tiny)


def _spacing(affine: np.ndarray) -> np.ndarray:
    return np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
