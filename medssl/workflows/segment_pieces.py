"""Which structures are one piece in every mask, so that loose bits of them are mistakes."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from medssl.scans.integrity import read_whole

# Of a structure's voxels in its largest piece: what is left may be a slip of the pen.
_SHARE = 0.95
_TOUCHING_CORNERS = np.ones((3, 3, 3), bool)


def in_one_piece(masks: Sequence[Path], values: Iterable[int]) -> list[int]:
    """Return the values that are one piece in every mask that shows them: 95 % of their voxels touch one another.

    Args:
        masks: files with the values of training, at least one of which shows each value.
        values: of the structures.
    """
    pieces = set(values)
    for path in masks:
        voxels = read_whole(path).voxels
        if voxels is None:
            raise ValueError(f"{path} cannot be read again; is the disk sound?")
        labels = np.rint(voxels).astype(np.uint8)
        places = ndimage.find_objects(labels)
        found = {value for value in pieces if value <= len(places) and places[value - 1] is not None}
        pieces -= {value for value in found if not _is_one_piece(labels[places[value - 1]] == value)}
    return sorted(pieces)


def _is_one_piece(mask: np.ndarray) -> bool:
    numbers, _ = ndimage.label(mask, _TOUCHING_CORNERS)
    sizes = np.bincount(numbers.ravel())[1:]
    return bool(sizes.max() >= _SHARE * sizes.sum())
