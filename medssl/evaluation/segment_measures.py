"""What is measured of every structure of a segmentation, and what about it should be looked at."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

# Sides of a scan along right, anterior and superior: the lower and the upper end of each axis.
SIDES = (("left", "right"), ("back", "front"), ("lower", "upper"))
# Parts smaller than this share of the structure are specks, which do not count.
_LEAST_PART = 0.05
# A volume is far from the others if it is this many times larger or smaller than their median.
_FAR = 2.5


class Measure(NamedTuple):
    """Of one structure of one scan.

    Attributes:
        volume_ml: its volume.
        parts: pieces apart from each other, without specks of less than 5 %.
        sides: sides of the scan that it touches.
    """

    volume_ml: float
    parts: int
    sides: tuple[str, ...]


def measure(label: np.ndarray, voxel_ml: float, values: Sequence[int]) -> dict[int, Measure]:
    """Measure the structures that a label map shows.

    Args:
        label: integer map with axes along right, anterior and superior, shape ``(H, W, D)``.
        voxel_ml: volume of a voxel.
        values: of the structures.

    Example:
        >>> label = np.zeros((4, 4, 4), int)
        >>> label[0, 1, 1] = label[2, 2, 2] = 1
        >>> measure(label, 0.5, [1, 2])
        {1: Measure(volume_ml=1.0, parts=2, sides=('left',))}
    """
    found = {}
    boxes = ndimage.find_objects(label.astype(np.int32), max_label=max(values, default=0))
    for value in values:
        box = boxes[value - 1]
        if box is None:
            continue
        mask = label[box] == value
        labelled, _ = ndimage.label(mask)
        sizes = np.bincount(labelled.ravel())[1:]
        parts = int((sizes >= _LEAST_PART * sizes.sum()).sum())
        found[value] = Measure(float(sizes.sum() * voxel_ml), max(parts, 1), _sides(box, label.shape))
    return found


def _sides(box: Sequence[slice], shape: Sequence[int]) -> tuple[str, ...]:
    touched = []
    for part, size, (low, high) in zip(box, shape, SIDES, strict=True):
        touched += [low] * (part.start == 0) + [high] * (part.stop == size)
    return tuple(touched)


def flags(
    value: int,
    found: Measure | None,
    labelled: Sequence[Mapping[int, Measure]],
    others: Sequence[Mapping[int, Measure]],
) -> list[str]:
    """Say what about a structure of a segmented scan is unlike the labelled ones.

    Args:
        value: of the structure.
        found: its measure; None if it was not found.
        labelled: measures of the labelled scans.
        others: those of the other segmented scans.

    Example:
        >>> usual = [{1: Measure(10.0, 1, ())}] * 3
        >>> flags(1, Measure(2.0, 3, ("upper",)), usual, [])
        ['touches the upper edge of the scan', '3 separate parts', 'volume is 0.2 × the median']
    """
    known = [measures[value] for measures in labelled if value in measures]
    if found is None:
        return ["not found"] if len(known) == len(labelled) else []
    usual_sides = {side for other in known for side in other.sides}
    unusual = [side for side in found.sides if side not in usual_sides]
    said = [f"touches the {' and '.join(unusual)} edge of the scan"] if unusual else []
    if found.parts > max((other.parts for other in known), default=1):
        said.append(f"{found.parts} separate parts")
    volumes = [m.volume_ml for m in [*known, *(measures[value] for measures in others if value in measures)]]
    ratio = found.volume_ml / float(np.median(volumes)) if volumes else 1.0
    if not 1 / _FAR <= ratio <= _FAR:
        said.append(f"volume is {ratio:.2g} × the median")
    return said
