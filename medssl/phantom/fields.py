"""Smooth random fields, of which synthetic volumes are made."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Mean square of the four weights of a cubic B-spline, over all places between two knots.
_MEAN_SQUARE = 151 / 315


def smooth_field(
    rng: np.random.Generator, shape: Sequence[int], period: float | Sequence[float]
) -> NDArray[np.float32]:
    """Return Gaussian noise of zero mean and about unit variance, as smooth as a cubic B-spline.

    Args:
        rng: source of the noise.
        shape: shape of the field.
        period: voxels between the knots of the spline, for all axes or one for each; features are about as wide as two
            periods.

    Example:
        >>> field = smooth_field(np.random.default_rng(0), (64, 64), 8)
        >>> field.shape, bool(np.abs(np.diff(field, axis=0)).max() < 0.5)
        ((64, 64), True)
    """
    periods = np.broadcast_to(period, len(shape))
    bases = [_spline_basis(size, float(step)) for size, step in zip(shape, periods, strict=True)]
    field = rng.standard_normal([basis.shape[1] for basis in bases], dtype=np.float32)
    # The last axis first: so the largest product comes last.
    for axis in reversed(range(len(shape))):
        field = along_axis(bases[axis], field, axis)
    return field * np.float32(_MEAN_SQUARE ** (-len(shape) / 2))


def along_axis(matrix: NDArray[np.float32], image: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Return the image with a matrix applied to every line along one axis.

    Args:
        matrix: shape ``(new size, size)``.
        image: shape ``(..., size, ...)``.
        axis: of the lines.

    Example:
        >>> along_axis(np.full((1, 4), 0.25, np.float32), np.ones((4, 3), np.float32), 0).tolist()
        [[1.0, 1.0, 1.0]]
    """
    size = image.shape[axis]
    after = int(np.prod(image.shape[axis + 1 :]))
    shape = (*image.shape[:axis], len(matrix), *image.shape[axis + 1 :])
    if after == 1:
        return (image.reshape(-1, size) @ matrix.T).reshape(shape)
    return np.matmul(matrix, image.reshape(-1, size, after)).reshape(shape)


@lru_cache(maxsize=256)
def _spline_basis(size: int, period: float) -> NDArray[np.float32]:
    """Return the weights of the knots of a uniform cubic B-spline at every voxel of a line."""
    place = np.arange(size) / period
    knot = np.floor(place).astype(int)
    t = place - knot
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    basis = np.zeros((size, knot[-1] + 4), np.float32)
    for offset, weight in enumerate(weights):
        basis[np.arange(size), knot + offset] = weight
    return basis
