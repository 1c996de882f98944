"""Resample a volume along its own axes, slice by slice; the result is the only new volume in memory."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray


def interpolate(volume: NDArray[np.number], places: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    """Interpolate a volume linearly on a grid of places along its axes.

    Multilinear interpolation is separable: every slice of the volume is interpolated once in its plane, and two
    neighbouring slices are mixed. The result has the memory order of the volume.

    Args:
        volume: any number type, 2 or 3 axes in any memory order.
        places: ascending places along each axis, in voxels from 0 to the size of the axis - 1.

    Returns:
        Array with one voxel per place along each axis.

    Example:
        >>> interpolate(np.array([[0, 2], [4, 6]]), [np.array([0.0, 0.5]), np.array([0.5, 1.0])])
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """
    order = _slowest_first(volume)
    slices, targets = volume.transpose(order), [_between(places[axis], volume.shape[axis]) for axis in order]
    result = np.empty([len(places[axis]) for axis in order], np.float32)
    plane = partial(_in_plane, targets=targets[1:])
    mixed, near, far = np.empty_like(result[0]), _Slice(slices, plane), _Slice(slices, plane)
    for out, lower, weight in zip(result, *targets[0], strict=True):
        if near.index != lower:
            near, far = far, near
        _mix(near.at(lower), far.at(min(lower + 1, len(slices) - 1)), weight, mixed, out)
    return result.transpose(np.argsort(order))


def pick(volume: NDArray[np.number], voxels: Sequence[NDArray[np.integer]]) -> NDArray[np.float32]:
    """Pick the voxels of a volume on a grid of indices along its axes.

    Args:
        volume: any number type, 2 or 3 axes in any memory order.
        voxels: indices to take along each axis.

    Example:
        >>> pick(np.array([[0, 2], [4, 6]]), [np.array([1, 1]), np.array([0, 1])])
        array([[4., 6.],
               [4., 6.]], dtype=float32)
    """
    order = _slowest_first(volume)
    slices = volume.transpose(order)
    result = np.empty([len(voxels[axis]) for axis in order], np.float32)
    for out, index in zip(result, voxels[order[0]], strict=True):
        out[...] = slices[index][np.ix_(*(voxels[axis] for axis in order[1:]))]
    return result.transpose(np.argsort(order))


class _Slice:
    """A slice interpolated in its plane, kept until another one is requested."""

    def __init__(self, slices: NDArray[np.number], plane) -> None:
        self.slices = slices
        self.plane = plane
        self.index = -1
        self.values = np.empty(0, np.float32)

    def at(self, index: int) -> NDArray[np.float32]:
        if index != self.index:
            self.index, self.values = index, self.plane(self.slices[index])
        return self.values


def _slowest_first(volume: NDArray[np.number]) -> list[int]:
    return sorted(range(volume.ndim), key=lambda axis: -abs(volume.strides[axis]))


def _between(places: NDArray[np.floating], size: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the voxel below each place, and how far the place lies towards the next one."""
    lower = np.clip(np.floor(places).astype(np.intp), 0, size - 1)
    return lower, (places - lower).astype(np.float32)


def _in_plane(
    values: NDArray[np.number], targets: Sequence[tuple[NDArray[np.intp], NDArray[np.float32]]]
) -> NDArray[np.float32]:
    values = values.astype(np.float32)
    for axis, (lower, weights) in enumerate(targets):
        near = np.take(values, lower, axis)
        far = np.take(values, np.minimum(lower + 1, values.shape[axis] - 1), axis)
        shape = [-1 if other == axis else 1 for other in range(values.ndim)]
        values = _mix(near, far, weights.reshape(shape), far, near)
    return values


def _mix(near: NDArray, far: NDArray, weight: NDArray, spare: NDArray, out: NDArray) -> NDArray[np.float32]:
    np.subtract(far, near, out=spare)
    np.multiply(spare, weight, out=spare)
    return np.add(near, spare, out=out)
