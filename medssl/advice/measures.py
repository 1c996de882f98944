"""How large, thick, rare and visible a structure is in a labelled scan."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# The surroundings that a structure is compared with reach this many times the shortest edge of a voxel.
_SHELL = 3.0


@dataclass(frozen=True)
class StructureMeasures:
    """What a structure is like.

    Attributes:
        size: ml, or mm² in 2D (pixels of a picture have an edge of 1).
        extent: mm along every axis, of the box around it.
        thickness: mm, see `thickness_of`.
        share: of the voxels of the scan.
        contrast: mean inside less mean just outside, over the deviation of both together.
    """

    size: float
    extent: tuple[float, ...]
    thickness: float
    share: float
    contrast: float


def measure_structure(
    mask: NDArray[np.bool_], image: NDArray[np.number], spacing: Sequence[float]
) -> StructureMeasures | None:
    """Return the measures of a structure in a labelled scan; None if the scan does not show it.

    Args:
        mask: true inside the structure, 2 or 3 axes.
        image: of the same shape.
        spacing: mm along every axis.

    Example:
        >>> mask = np.zeros((30, 40), bool)
        >>> mask[10:20, 5:35] = True
        >>> found = measure_structure(mask, 5.0 * mask + np.indices(mask.shape)[0] % 2, (2.0, 1.0))
        >>> found.size, found.extent, found.share, round(found.contrast, 1)
        (600.0, (20.0, 30.0), 0.25, 10.0)
    """
    if not mask.any():
        return None
    spacing = np.asarray(spacing, float)
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    around = tuple(
        slice(max(part.start - margin, 0), part.stop + margin)
        for part, margin in zip(box, np.ceil(_SHELL * spacing.min() / spacing).astype(int), strict=True)
    )
    edges = np.array([part.stop - part.start for part in box]) * spacing
    volume = float(mask.sum() * spacing.prod())
    return StructureMeasures(
        size=volume / 1000 if mask.ndim == 3 else volume,
        extent=tuple(edges.tolist()),
        thickness=thickness_of(mask[box], spacing),
        share=float(mask.mean()),
        contrast=_contrast(mask[around], image[around].astype(np.float64), spacing),
    )


def thickness_of(mask: NDArray[np.bool_], spacing: Sequence[float]) -> float:
    """Thickness of a structure in mm: the diameter of the balls that fill it, as a median over its volume.

    The distance to the nearest voxel outside has local maxima along the middle of a structure; there it is the radius
    of the largest ball that fits inside. Their diameters are weighted by the volume of the balls, so that a ragged
    surface counts for little. Exact to half a voxel. What lies outside of the array is outside of the structure.

    Args:
        mask: true inside the structure.
        spacing: mm along every axis.

    Example:
        >>> plate = np.zeros((40, 40, 15), bool)
        >>> plate[5:35, 5:35, 5:10] = True
        >>> thickness_of(plate, (1.0, 1.0, 3.0))
        16.5
    """
    spacing = np.asarray(spacing, float)
    padded = np.pad(mask, 1)
    distance, nearest = ndimage.distance_transform_edt(padded, sampling=spacing, return_indices=True)
    middle = padded & (distance >= ndimage.maximum_filter(distance, size=3))
    radii = distance[middle]
    towards = (nearest[:, middle] - np.argwhere(middle).T) * spacing[:, None] / radii
    voxel = np.sqrt(((towards * spacing[:, None]) ** 2).sum(axis=0))
    # Twice the distance from the centre of a voxel to that of one outside is a voxel more than the thickness, but where
    # the middle lies between two voxels it is no more; half a voxel is right on average.
    return _weighted_median(2 * radii - voxel / 2, radii**mask.ndim)


def _weighted_median(values: NDArray[np.floating], weights: NDArray[np.floating]) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _contrast(mask: NDArray[np.bool_], image: NDArray[np.floating], spacing: NDArray[np.floating]) -> float:
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    inside, around = image[mask], image[~mask & (outside <= _SHELL * spacing.min())]
    if not around.size:
        return 0.0
    deviation = np.sqrt((inside.var() * inside.size + around.var() * around.size) / (inside.size + around.size))
    return float((inside.mean() - around.mean()) / max(deviation, np.finfo(np.float32).tiny))
