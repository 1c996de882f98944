"""Random label maps: solids in one another, tissues of cells and strands, cut-outs of the anatomical phantom."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medssl.phantom.cut_outs import cut_out
from medssl.phantom.fields import smooth_field
from medssl.phantom.shapes import Array
from medssl.phantom.solids import SOLIDS, Solid, ball

AIR = 0
# One byte holds a label; the last numbers stay free for the regions of a filling.
_MAX_LABEL = 255
_SMALLEST = 2.0  # voxels
_PHANTOM, _NOISE, _AIR = 0.35, 0.35, 0.6  # shares of the scenes
_MOST_AIR = 0.85  # above it, the air becomes tissue


def random_label_map(rng: np.random.Generator, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Return a scene of up to 255 regions that lie in and on one another, deformed and on a random anisotropic grid.

    A scene is a body in air, or tissue throughout, or a cut-out of the anatomical phantom. On it lie 15 to 60 solids,
    the largest first: ellipsoids, plates, tubes, and rows of ellipsoids. Their sizes are log-uniform from 2 voxels to
    the whole map. A solid is one region, layers of several, or filled with cells or strands.

    Args:
        rng: source of all variation.
        shape: of the map, three axes; 1 along the last one gives a slice.

    Returns:
        The number of the region of every voxel; `AIR` is what lies outside the body.

    Example:
        >>> labels = random_label_map(np.random.default_rng(0), (32, 32, 32))
        >>> labels.shape, labels.dtype.name, len(np.unique(labels)) > 10
        ((32, 32, 32), 'uint8', True)
    """
    scene = Scene(rng, shape)
    _lay_ground(scene)
    longest = float(scene.extent.max())
    sizes = np.exp(rng.uniform(np.log(_SMALLEST), np.log(longest), rng.integers(15, 61)))
    for size in np.sort(sizes)[::-1]:
        kind = SOLIDS[rng.choice(len(SOLIDS), p=(0.45, 0.2, 0.2, 0.15))]
        centre = rng.uniform(-0.5, 0.5, 3) * scene.extent
        _fill(scene, kind(rng, centre, float(size)), float(size))
    air = scene.labels == AIR
    if air.mean() > _MOST_AIR:
        scene.paint((slice(None),) * 3, air)
    return scene.labels


class Scene:
    """A label map under construction.

    Args:
        rng: source of all variation.
        shape: three axes.

    Attributes:
        labels: the map.
        points: deformed coordinates of every voxel around the middle, shape ``(3, *shape)``.
        extent: size of the map in the units of the points.
    """

    def __init__(self, rng: np.random.Generator, shape: Sequence[int]) -> None:
        self.rng = rng
        self.labels = np.zeros(shape, np.uint8)
        self._next = AIR + 1
        spacing = np.exp(rng.uniform(-0.35, 0.35, 3))
        self._spacing = spacing / np.prod(spacing) ** (1 / 3)
        self.extent = np.array(shape) * self._spacing
        self.points, self._shift = self._deformed(shape)

    def _deformed(self, shape: Sequence[int]) -> tuple[Array, float]:
        """Return the deformed coordinates, and how far a voxel was moved at most."""
        wide, narrow = self.rng.uniform(0, 4), self.rng.uniform(0, 1.2)
        points, shift = np.empty((3, *shape), np.float32), 0.0
        for axis, size in enumerate(shape):
            line = ((np.arange(size) - (size - 1) / 2) * self._spacing[axis]).astype(np.float32)
            points[axis] = np.expand_dims(line, [other for other in range(3) if other != axis])
            moves = np.float32(wide) * smooth_field(self.rng, shape, 16.0)
            moves += np.float32(narrow) * smooth_field(self.rng, shape, 6.0)
            shift = max(shift, float(np.abs(moves).max()))
            points[axis] += moves
        return points, shift

    def start_from(self, labels: NDArray[np.uint8]) -> None:
        """Take over the regions of another map."""
        self.labels[:] = labels
        self._next = int(labels.max()) + 1

    def box(self, centre: Array, reach: Array) -> tuple[slice, ...]:
        """Return the part of the map that may hold points within `reach` of a centre along each axis."""
        middle = (np.array(self.labels.shape) - 1) / 2
        low = np.floor((centre - reach - self._shift) / self._spacing + middle).astype(int)
        high = np.ceil((centre + reach + self._shift) / self._spacing + middle).astype(int) + 1
        return tuple(slice(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True))

    def new_label(self) -> int:
        """Return a number that no region has yet; when there are none left, the last one."""
        label = self._next
        self._next = min(self._next + 1, _MAX_LABEL)
        return label

    def paint(self, box: tuple[slice, ...], mask: NDArray[np.bool_]) -> None:
        """Make a part of a box a region of its own."""
        self.labels[box][mask] = self.new_label()


def _lay_ground(scene: Scene) -> None:
    """Fill the map with what the solids lie on."""
    rng = scene.rng
    whole = (slice(None),) * 3
    kind = rng.uniform()
    if kind < _PHANTOM:
        scene.start_from(cut_out(rng, scene.points))
        return
    if rng.uniform() < _AIR:
        centre = rng.uniform(-0.2, 0.2, 3) * scene.extent
        _layers(scene, Solid(centre, *ball(centre, scene.extent * rng.uniform(0.35, 0.75, 3))), 12.0)
    else:
        scene.paint(whole, np.ones(scene.labels.shape, bool))
    if kind < _PHANTOM + _NOISE:
        _strands(scene, whole, scene.labels != AIR, rng.uniform(4, 14))


def _fill(scene: Scene, solid: Solid, size: float) -> None:
    """Paint a solid as one region, as layers, or with cells or strands inside."""
    draw = scene.rng.uniform()
    if draw < 0.2 and size > 6:
        _layers(scene, solid, size)
        return
    box = scene.box(solid.centre, solid.reach)
    mask = solid.distance(scene.points[(slice(None), *box)]) < 0
    if not mask.any():
        return
    scene.paint(box, mask)
    if draw > 0.85 and size > 12:
        _cells(scene, box, mask, int(scene.rng.integers(3, 13)))
    elif draw > 0.75 and size > 10:
        _strands(scene, box, mask, size * scene.rng.uniform(0.05, 0.2))


def _layers(scene: Scene, solid: Solid, size: float) -> None:
    """Paint a solid and one to three solids inside it, as skin, fat and muscle or cortex and marrow."""
    box = scene.box(solid.centre, solid.reach)
    distance = solid.distance(scene.points[(slice(None), *box)])
    depth = 0.0
    for _ in range(scene.rng.integers(2, 5)):
        mask = distance < -depth
        if mask.any():
            scene.paint(box, mask)
        depth += max(1.0, size * scene.rng.uniform(0.04, 0.15))


def _strands(scene: Scene, box: tuple[slice, ...], mask: NDArray[np.bool_], period: float) -> None:
    """Paint the places where smooth noise is high, and others where it is low, as loops and lobules."""
    noise = smooth_field(scene.rng, mask.shape, max(period, 1.5))
    level = scene.rng.uniform(0.2, 1.2)
    scene.paint(box, mask & (noise > level))
    if scene.rng.uniform() < 0.6:
        scene.paint(box, mask & (noise < -scene.rng.uniform(0.2, 1.2)))


def _cells(scene: Scene, box: tuple[slice, ...], mask: NDArray[np.bool_], count: int) -> None:
    """Divide a region into cells of random seeds and weights: a power diagram."""
    places = scene.points[(slice(None), *box)][:, mask]
    seeds = places[:, scene.rng.integers(places.shape[1], size=count)]
    weights = (seeds**2).sum(0) / 2 + scene.rng.uniform(0, places.std() ** 2 / 8, count).astype(np.float32)
    nearest = np.argmax(places.T @ seeds - weights, axis=1)
    numbers = np.array([scene.new_label() for _ in range(count)], np.uint8)
    scene.labels[box][mask] = numbers[nearest]
