"""Random solids: ellipsoids, plates, tubes, and rows of ellipsoids."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from medssl.phantom.shapes import Array, rotation, tube

Distance = Callable[[Array], Array]


@dataclass(frozen=True)
class Solid:
    """A solid, and a box that holds it.

    Attributes:
        centre: middle of the box.
        reach: half of the box along each axis.
        distance: maps points ``(3, ...)`` to their signed distances, negative inside.
    """

    centre: Array
    reach: Array
    distance: Distance


def ball(centre: Array, axes: Array, turn: Array | tuple[float, ...] = (0, 0, 0)) -> tuple[Array, Distance]:
    """Return the reach and the signed distance of an ellipsoid with given half axes; see `level`."""
    reach = np.asarray(axes, float) if not np.any(turn) else np.full(3, np.max(axes))
    return reach, lambda points: level(points, centre, axes, turn)


def level(points: Array, centre: Array, axes: Array, turn: Array | tuple[float, ...] = (0, 0, 0)) -> Array:
    """Return a signed distance to an ellipsoid, exact along its shortest axis and too small along the others.

    A third of the time of `medssl.phantom.shapes.ellipsoid`.

    Example:
        >>> level(np.array([[0.0, 6.0], [0.0, 0.0], [5.0, 0.0]]), np.zeros(3), np.array((10.0, 5.0, 4.0))).tolist()
        [1.0, -1.6]
    """
    to_ball = rotation(turn).T / np.asarray(axes)[:, None]
    local = to_ball.astype(points.dtype) @ points.reshape(3, -1)
    local -= (to_ball @ centre).astype(points.dtype)[:, None]
    radius = np.sqrt(np.einsum("ij,ij->j", local, local)).reshape(points.shape[1:])
    radius -= 1
    radius *= np.min(axes).astype(points.dtype)
    return radius


def random_ellipsoid(rng: np.random.Generator, centre: Array, size: float) -> Solid:
    """Return an ellipsoid whose longest axis has the given length."""
    axes = np.maximum(size / 2 * rng.uniform(0.4, 1.0, 3), 1.0)
    return Solid(centre, *ball(centre, axes, rng.uniform(0, 360, 3)))


def random_plate(rng: np.random.Generator, centre: Array, size: float) -> Solid:
    """Return a curved plate: one side of a thin shell."""
    axes, turn = np.maximum(size / 2 * rng.uniform(0.6, 1.0, 3), 1.5), rng.uniform(0, 360, 3)
    thickness = max(1.0, size * rng.uniform(0.02, 0.08))
    normal = rng.normal(size=3)
    normal /= np.linalg.norm(normal)
    offset = rng.uniform(-0.3, 0.5) * size / 2
    reach, shell = ball(centre, axes, turn)

    def distance(points: Array) -> Array:
        side = np.tensordot(normal.astype(points.dtype), points, 1) - points.dtype.type(normal @ centre + offset)
        return np.maximum(np.abs(shell(points)) - thickness / 2, -side)

    return Solid(centre, reach + thickness, distance)


def random_tube(rng: np.random.Generator, centre: Array, size: float) -> Solid:
    """Return a winding tube of about the given length, wider at one end."""
    count = int(rng.integers(2, 6))
    steps = rng.normal(size=(count, 3)) * 0.6 + rng.normal(size=3)
    steps *= size / count / np.linalg.norm(steps, axis=1, keepdims=True)
    path = np.cumsum(steps, axis=0)
    path += centre - path.mean(axis=0)
    radii = np.maximum(np.linspace(size * rng.uniform(0.02, 0.14), size * rng.uniform(0.02, 0.08), count), 1.0)
    low, high = path.min(axis=0) - radii.max(), path.max(axis=0) + radii.max()
    return Solid((low + high) / 2, (high - low) / 2, lambda points: tube(points, path, radii))


def random_row(rng: np.random.Generator, centre: Array, size: float) -> Solid:
    """Return equal ellipsoids side by side, as vertebrae and ribs are."""
    count = int(rng.integers(3, 8))
    step = rng.normal(size=3)
    step *= size / count / np.linalg.norm(step)
    axes = np.maximum(size / count * rng.uniform(0.25, 0.6, 3) * rng.choice((1, 1, 2), 3), 1.0)
    turn = rng.uniform(0, 360, 3)
    places = centre + step * (np.arange(count) - (count - 1) / 2)[:, None]

    def distance(points: Array) -> Array:
        # The nearest member of the row decides, so one ellipsoid is enough.
        unit = step / (step @ step)
        along = np.tensordot(unit.astype(points.dtype), points, 1) - points.dtype.type(unit @ places[0])
        number = np.clip(np.rint(along), 0, count - 1)
        local = points - number * step.astype(points.dtype).reshape(3, *[1] * (points.ndim - 1))
        return level(local, places[0], axes, turn)

    reach = np.abs(step) * (count - 1) / 2 + axes.max()
    return Solid(centre, reach, distance)


SOLIDS = (random_ellipsoid, random_plate, random_tube, random_row)
