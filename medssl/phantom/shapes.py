"""Signed distances to simple solids, and the canvas they are painted on."""

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def ellipsoid(
    points: Array, centre: Sequence[float], axes: Sequence[float], turn: Sequence[float] = (0, 0, 0)
) -> Array:
    """Return the signed distance to an ellipsoid, exact to first order at its surface and negative inside.

    Args:
        points: coordinates in mm, shape ``(3, ...)``.
        centre: centre in mm.
        axes: the three half axes in mm.
        turn: rotations of the ellipsoid about x, y and z in degrees, applied in this order.

    Example:
        >>> ellipsoid(np.array([[0.0, 12.0], [0.0, 0.0], [5.0, 0.0]]), (0, 0, 0), (10, 5, 5)).round(2).tolist()
        [0.0, 2.0]
    """
    local = np.tensordot(rotation(turn).T.astype(points.dtype), _shift(points, centre), 1)
    scale = np.asarray(axes, points.dtype).reshape(-1, *[1] * (points.ndim - 1))
    local /= scale
    radius = _norm(local)
    local /= scale
    # The gradient of the radius has the length |local| / radius.
    return (radius - 1) * radius / np.maximum(_norm(local), 1e-6)


def tube(points: Array, path: Sequence[Sequence[float]], radii: Sequence[float]) -> Array:
    """Return the signed distance to a tube along a polyline, negative inside.

    Args:
        points: coordinates in mm, shape ``(3, ...)``.
        path: corners of the polyline in mm.
        radii: radius at every corner in mm, linear in between.

    Example:
        >>> tube(np.array([[0.0, 5.0], [0.0, 3.0], [0.0, 0.0]]), [(0, 0, 0), (10, 0, 0)], [2, 2]).tolist()
        [-2.0, 1.0]
    """
    corners = np.asarray(path, points.dtype)
    distance = None
    for start, end, first, last in zip(corners[:-1], corners[1:], radii[:-1], radii[1:], strict=True):
        local, axis = _shift(points, start), end - start
        along = np.clip(np.tensordot(axis, local, 1) / (axis @ axis), 0, 1)
        for component, length in zip(local, axis, strict=True):
            component -= along * length
        segment = _norm(local) - (first + along * points.dtype.type(last - first))
        distance = segment if distance is None else np.minimum(distance, segment)
    return distance


def blend(first: Array, second: Array, width: float) -> Array:
    """Return the distance to the union of two solids, with the seam rounded over `width` mm."""
    overlap = np.maximum(width - np.abs(first - second), 0) / width
    return np.minimum(first, second) - overlap**2 * (width / 4)


def rotation(turn: Sequence[float]) -> Array:
    """Return the 3×3 matrix of rotations about x, y and z in degrees, applied in this order."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(turn)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[[i, j, i, j], [i, j, j, i]] = np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
        matrix = step @ matrix
    return matrix


class Canvas:
    """An image and a label map on which solids are painted, later ones over earlier ones.

    Args:
        values: mean value of every tissue.
        textures: standard deviation of the texture of every tissue.
        texture: noise of unit variance in the shape of the image.
        voxel: size of a voxel in mm, over which tissues mix at a border (partial volume).
    """

    def __init__(self, values: dict[str, float], textures: dict[str, float], texture: Array, voxel: float) -> None:
        self._values, self._textures, self._texture, self._voxel = values, textures, texture, voxel
        self.image = np.full_like(texture, values["air"])
        self.label = np.zeros(texture.shape, np.uint8)

    def paint(self, distance: Array, tissue: str, label: int = 0) -> None:
        """Fill the solid of the given signed distance (mm) with a tissue and a label."""
        share = np.clip(0.5 - distance / self._voxel, 0, 1)
        touched = np.nonzero(share)
        share = share[touched]
        value = self._values[tissue] + self._textures[tissue] * self._texture[touched]
        self.image[touched] += share * (value - self.image[touched])
        self.label[tuple(index[share > 0.5] for index in touched)] = label


def _shift(points: Array, centre: Sequence[float]) -> Array:
    return points - np.asarray(centre, points.dtype).reshape(-1, *[1] * (points.ndim - 1))


def _norm(vectors: Array) -> Array:
    return np.sqrt(np.einsum("i...,i...->...", vectors, vectors))
