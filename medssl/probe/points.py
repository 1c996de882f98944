"""A mask from clicks: what a linear probe learns from a few points inside and outside a structure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medssl.networks.heads import LinearHead
from medssl.probe.fit import fit_head
from medssl.probe.rows import VoxelRows

_WEAK_VOXELS = 2000
_FAR = 30.0
_TOLERANCE = 1e-3
_SEED = 0


class Settings(NamedTuple):
    """How clicks are learnt from.

    Attributes:
        radius: of the ball around a click whose voxels count as clicked, in mm. Their weight is that of a Gaussian with
            half of it as standard deviation.
        l2: weight of the penalty, see `medssl.probe.solve.solve`.
        weak_share: part of the weight of the outside that random voxels of the scan have, in [0, 1].
        nearness: what `nearness` adds to the logit at a click inside, and takes from it at one outside.
        reach: of a click, in mm: the standard deviation of its Gaussian.
    """

    radius: float = 4.5
    l2: float = 1e-2
    weak_share: float = 0.5
    nearness: float = 6.0
    reach: float = 25.0


# Chosen on a phantom of another seed than that of the table in benchmarks/results.md.
CHOSEN = Settings()


def click_rows(
    features_at: Callable[[np.ndarray], np.ndarray],
    shape: Sequence[int],
    spacing: Sequence[float],
    inside: np.ndarray,
    outside: np.ndarray,
    settings: Settings = CHOSEN,
) -> VoxelRows:
    """Rows of the voxels around clicks, inside with label 1 and outside with label 0; both sides weigh the same.

    A voxel near clicks of both sides belongs to the nearer one. As most of a scan is outside any one structure, random
    voxels of the whole scan, 30 mm and more from all clicks inside, are weak examples of the outside: a part of its
    weight, or all of it where nothing was clicked outside. They are seeded, so the same clicks give the same rows.

    Args:
        features_at: gives the features, shape ``(N, C)``, of voxels of shape ``(N, 3)``.
        shape: voxels of the scan along each axis.
        spacing: size of a voxel in mm.
        inside: voxels clicked inside, integers of shape ``(N, 3)``, at least one.
        outside: voxels clicked outside; may be empty.
        settings: of the learning.
    """
    flat, labels, weights = _around(shape, spacing, (outside, inside), settings.radius)
    far = _far_voxels(shape, spacing, inside)
    share = settings.weak_share if (labels == 0).any() and len(far) else float(len(far) > 0)
    parts = [(flat[labels == 1], weights[labels == 1], 1.0), (flat[labels == 0], weights[labels == 0], 1 - share)]
    parts.append((far, np.ones(len(far)), share))
    voxels = np.concatenate([part for part, _, _ in parts])
    weight = np.concatenate([values * (total / values.sum()) if len(values) else values for _, values, total in parts])
    label = np.repeat([1, 0, 0], [len(part) for part, _, _ in parts])
    kept = weight > 0
    features = features_at(np.stack(np.unravel_index(voxels[kept], tuple(shape)), axis=1))
    return VoxelRows(features, label[kept], weight[kept], np.array([int(kept.sum())]))


def fit_clicks(head: LinearHead, rows: VoxelRows, settings: Settings = CHOSEN) -> None:
    """Fit a head of one class, in place, to the rows of clicks.

    Args:
        head: of a single class; its logit is above 0 inside.
        rows: of `click_rows`.
        settings: of the learning.
    """
    fit_head(head, {"clicks": rows}, ["structure"], l2=settings.l2, tolerance=_TOLERANCE)


def nearness(
    shape: Sequence[int],
    spacing: Sequence[float],
    inside: np.ndarray,
    outside: np.ndarray,
    settings: Settings = CHOSEN,
) -> np.ndarray:
    """What the place of a voxel adds to its logit, float32 of the given shape: the features do not know where it is.

    Near a click inside more voxels are found, near one outside fewer: a Gaussian for the nearest click of each side.

    Args:
        shape: voxels of the scan along each axis.
        spacing: size of a voxel in mm.
        inside: voxels clicked inside, integers of shape ``(N, 3)``.
        outside: voxels clicked outside; may be empty.
        settings: of the learning.

    Example:
        >>> settings = CHOSEN._replace(nearness=6.0, reach=2.0)
        >>> none = np.empty((0, 3), dtype=int)
        >>> nearness((1, 1, 4), (9.0, 9.0, 2.0), np.array([[0, 0, 0]]), none, settings).round().tolist()
        [[[6.0, 4.0, 1.0, 0.0]]]
    """
    near, wrong = (_gaussians(shape, spacing, side, settings.reach) for side in (inside, outside))
    return settings.nearness * (near - wrong)


def clicked_components(mask: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """The connected components of a mask that contain a click inside; clicked voxels are what was said of them.

    Args:
        mask: boolean, 3D.
        inside: voxels clicked inside, integers of shape ``(N, 3)``.
        outside: voxels clicked outside.

    Example:
        >>> mask = np.array([[[1, 1, 0, 1, 0, 1]]]) > 0
        >>> clicked_components(mask, np.array([[0, 0, 0], [0, 0, 4]]), np.array([[0, 0, 3]])).astype(int).tolist()
        [[[1, 1, 0, 0, 1, 1]]]
    """
    said = mask.copy()
    said[tuple(outside.T)] = False
    said[tuple(inside.T)] = True
    components, _ = ndimage.label(said)
    return np.isin(components, components[tuple(inside.T)])


def _around(
    shape: Sequence[int], spacing: Sequence[float], sides: Sequence[np.ndarray], radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return flat voxels near clicks, the side that each is nearer to, and its weight."""
    reach = [int(radius // size) for size in spacing]
    offsets = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    distances = np.linalg.norm(offsets * np.asarray(spacing), axis=1)
    near = distances <= radius
    offsets, distances = offsets[near], distances[near]
    clicks = np.concatenate(sides).reshape(-1, 1, 3)
    voxels = (clicks + offsets).reshape(-1, 3)
    within = ((voxels >= 0) & (voxels < np.asarray(shape))).all(axis=1)
    flat = np.ravel_multi_index(tuple(voxels[within].T), tuple(shape))
    side = np.repeat(np.arange(len(sides)), [len(part) * len(offsets) for part in sides])[within]
    distance = np.tile(distances, len(clicks))[within]
    order = np.lexsort((side, distance, flat))
    flat, side, distance = flat[order], side[order], distance[order]
    _, first = np.unique(flat, return_index=True)
    return flat[first], side[first], np.exp(-0.5 * (distance[first] / (radius / 2)) ** 2)


def _far_voxels(shape: Sequence[int], spacing: Sequence[float], inside: np.ndarray) -> np.ndarray:
    """Return a seeded choice of flat voxels that are far from all clicks inside."""
    total = int(np.prod(shape))
    flat = np.unique(np.random.default_rng(_SEED).integers(0, total, _WEAK_VOXELS))
    voxels = np.stack(np.unravel_index(flat, tuple(shape)), axis=1)
    distances = np.linalg.norm((voxels[:, None] - inside[None]) * np.asarray(spacing), axis=2)
    return flat[distances.min(axis=1) >= _FAR]


def _gaussians(shape: Sequence[int], spacing: Sequence[float], clicks: np.ndarray, reach: float) -> np.ndarray:
    """Return the largest of Gaussians around clicks, 0 without any."""
    largest = np.zeros(tuple(shape), np.float32)
    for click in clicks:
        axes = [
            np.exp(-0.5 * ((np.arange(size) - middle) * step / reach) ** 2).astype(np.float32)
            for size, middle, step in zip(shape, click, spacing, strict=True)
        ]
        np.maximum(largest, np.einsum("i,j,k->ijk", *axes), out=largest)
    return largest
