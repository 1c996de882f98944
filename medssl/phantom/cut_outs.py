"""Cut-outs of the anatomical phantom, from any direction and in any size."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medssl.phantom.anatomy import Patient
from medssl.phantom.fields import smooth_field
from medssl.phantom.shapes import Array

# Size of the field of view and of a voxel in mm.
_EXTENT, _SPACING = np.array((345.0, 268.0, 255.0)), 3.0
NUM_PATIENTS = 8


def cut_out(rng: np.random.Generator, points: Array) -> NDArray[np.uint8]:
    """Return the tissues of a random patient at every point; 0 is the air around the patient.

    Directions and sides are drawn too, and the size of a voxel, from 1.5 to 4.5 mm.

    Args:
        rng: source of all variation.
        points: coordinates in voxels around 0, shape ``(3, ...)``.
    """
    tissues = _tissues(int(rng.integers(NUM_PATIENTS)))
    scale = 1.5 * np.exp(rng.uniform(0, np.log(3))) / _SPACING * rng.choice((-1, 1), 3)
    shape = np.array(tissues.shape)
    # Keep most of what is seen inside the patient.
    reach = np.ptp(points.reshape(3, -1), axis=1)[order := rng.permutation(3)] * np.abs(scale) / 2
    spare = np.maximum(0.45 * shape - 0.7 * reach, 0.05 * shape)
    middle = shape / 2 + rng.uniform(-1, 1, 3) * spare
    flat, inside = np.zeros(points.shape[1:], np.int32), np.ones(points.shape[1:], bool)
    for axis, source in enumerate(order):
        index = (points[source] * np.float32(scale[axis]) + np.float32(middle[axis])).astype(np.int32)
        inside &= (index >= 0) & (index < shape[axis])
        flat = flat * shape[axis] + index
    return np.where(inside, tissues.ravel()[np.where(inside, flat, 0)], 0).astype(np.uint8)


class _TissueMap:
    """A canvas that keeps the number of the tissue painted last; tissues are numbered as they come, from 1."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.map = np.zeros(shape, np.uint8)
        self._numbers: dict[str, int] = {}

    def paint(self, distance: Array, tissue: str, label: int = 0) -> None:
        """Fill the solid of the given signed distance with the number of a tissue."""
        self.map[distance < 0] = self._numbers.setdefault(tissue, len(self._numbers) + 1)


@lru_cache(maxsize=NUM_PATIENTS)
def _tissues(seed: int) -> NDArray[np.uint8]:
    """Return the tissue map of a patient at 3 mm. It takes a second or two, so it is kept."""
    rng = np.random.default_rng((seed, 2))
    shape = tuple(int(size) for size in _EXTENT / _SPACING)
    steps = [(np.arange(size, dtype=np.float32) - size / 2) * _SPACING for size in shape]
    points = np.stack(np.meshgrid(*steps, indexing="ij")) + np.array((0, -4, -6), np.float32).reshape(3, 1, 1, 1)
    points += np.stack([5 * smooth_field(rng, shape, 24) for _ in range(3)])
    tissues = _TissueMap(shape)
    Patient(points, smooth_field(rng, shape, 3.0), rng).draw(tissues)
    return tissues.map
