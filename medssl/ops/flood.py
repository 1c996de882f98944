"""Filling a volume from its borders, 64 voxels at a time."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_WORD = 64
# Bodies take two or three rounds; beyond this a labelling of the components is faster.
_MOST_ROUNDS = 12


def flooded(passable: NDArray[np.bool_], axes: tuple[int, ...]) -> NDArray[np.bool_]:
    """Give the passable voxels that a path of passable face neighbours joins to a border.

    Sweeps along every axis, forth and back, carry the flood on until it stays; the voxels along one axis are the bits
    of words. In a maze, where that takes too many sweeps, the components are labelled instead.

    Args:
        passable: 2 or 3 axes.
        axes: those at whose two ends the flood enters.

    Example:
        >>> passable = np.array([[0, 0, 0, 0], [1, 1, 0, 1], [0, 0, 0, 0]], dtype=bool)
        >>> flooded(passable, axes=(1,)).astype(int)[1]
        array([1, 1, 0, 1])
        >>> flooded(passable, axes=(0,)).any()
        np.False_
    """
    order = sorted(range(passable.ndim), key=lambda axis: -abs(passable.strides[axis]))
    view = passable.transpose(order)
    entries = tuple(order.index(axis) for axis in axes)
    words = _packed(view)
    flood = words & _packed(_border(view.shape, entries))
    for _ in range(_MOST_ROUNDS):
        before = flood.copy()
        _sweep(flood, words)
        if np.array_equal(flood, before):
            return _unpacked(flood, view.shape).transpose(np.argsort(order))
    return _labelled(passable, axes)


def _border(shape: tuple[int, ...], axes: tuple[int, ...]) -> NDArray[np.bool_]:
    border = np.zeros(shape, dtype=bool)
    for axis in axes:
        np.moveaxis(border, axis, 0)[[0, -1]] = True
    return border


def _packed(volume: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Give the voxels along the last axis as the bits of words, the axis of the words first."""
    length = volume.shape[-1]
    count = -(-length // _WORD)
    octets = np.zeros((*volume.shape[:-1], count * _WORD // 8), np.uint8)
    octets[..., : -(-length // 8)] = np.packbits(volume, axis=-1, bitorder="little")
    return np.ascontiguousarray(np.moveaxis(octets.view("<u8"), -1, 0))


def _unpacked(words: NDArray[np.uint64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    octets = np.ascontiguousarray(np.moveaxis(words, 0, -1)).view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=shape[-1], bitorder="little").view(bool)


def _sweep(flood: NDArray[np.uint64], words: NDArray[np.uint64]) -> None:
    for axis in range(1, flood.ndim):
        over, through = np.moveaxis(flood, axis, 0), np.moveaxis(words, axis, 0)
        for steps in (range(1, len(over)), range(len(over) - 2, -1, -1)):
            for step in steps:
                over[step] |= over[step - (1 if steps.step > 0 else -1)] & through[step]
    _sweep_bits(flood, words, np.left_shift, range(len(words)))
    _sweep_bits(flood, words, np.right_shift, range(len(words) - 1, -1, -1))


def _sweep_bits(flood: NDArray[np.uint64], words: NDArray[np.uint64], shift: np.ufunc, order: range) -> None:
    """Carry the flood along the bits of each word, and from its last bit into the next word."""
    back = np.right_shift if shift is np.left_shift else np.left_shift
    carry = np.zeros_like(flood[0])
    for index in order:
        through = words[index].copy()
        filled = flood[index] | (carry & through)
        # Kogge and Stone: after the steps of 1, 2, 4 ... bits, every run of passable bits is filled.
        for step in (1, 2, 4, 8, 16, 32):
            filled |= through & shift(filled, np.uint64(step))
            through &= shift(through, np.uint64(step))
        flood[index] = filled
        carry = back(filled, np.uint64(_WORD - 1))


def _labelled(passable: NDArray[np.bool_], axes: tuple[int, ...]) -> NDArray[np.bool_]:
    components, count = ndimage.label(passable)
    is_joined = np.zeros(count + 1, dtype=bool)
    for axis in axes:
        is_joined[np.moveaxis(components, axis, 0)[[0, -1]]] = True
    is_joined[0] = False
    return is_joined[components]
