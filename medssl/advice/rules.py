"""Which settings suit structures of a size: few explicit rules, each with its reason (docs/advise.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from medssl.advice.measures import StructureMeasures

# Voxels across the thinnest structure: more are not needed, since larger voxels show more of what is around them; with
# fewer than the second number, Dice was lost. And along the shortest side of a scan.
_ENOUGH_ACROSS, VOXELS_ACROSS, _VOXELS_OF_SIDE = 8.0, 4.0, 64.0
# Of a scan and of a patch, that two CPU cores take in a short time.
_VOXELS_OF_SCAN, _VOXELS_OF_PATCH, _STEP = 3_000_000, {2: 65_536, 3: 98_304}, 8
# Levels of the pyramid: one more where the thickest structure has enough voxels across, one less where the shortest
# side of a scan has fewer than 64.
_LEVELS = 4
# Small is what is thinner than this part of the shortest side L of a scan and fills less than this share of it.
_THIN, _RARE = 1 / 32, 0.05
DIVISORS = (2, 4, 8)
# Windows of every size, however few structures want it, so that none is left out.
_EVEN_SHARE = 0.5


class Advised(NamedTuple):
    """A setting and why."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Scans:
    """What the scans of a data set are like.

    Attributes:
        spacing: median, mm along every axis.
        extent: median, mm along every axis.
        unit: of lengths, mm or pixels.
    """

    spacing: tuple[float, ...]
    extent: tuple[float, ...]
    unit: str = "mm"

    @property
    def side(self) -> float:
        """The shortest side L."""
        return min(self.extent)


Structures = Mapping[str, StructureMeasures]


def advised_spacing(structures: Structures, scans: Scans) -> Advised:
    """Return the spacing: as large as leaves eight voxels across the thinnest structure, never finer than the scans.

    Edges that are longer already stay, so that voxels become cubes. The shortest side of a scan keeps 64 voxels. Scans
    of more than three million voxels get larger ones, whatever the structures.

    Args:
        structures: by name; at least one.
        scans: of the data set.

    Example:
        >>> liver = StructureMeasures(1500.0, (200.0, 180.0, 150.0), 24.0, 0.1, 2.0)
        >>> advised_spacing({"liver": liver}, Scans((1.6, 1.6, 7.7), (320.0, 320.0, 240.0))).value
        [3.0, 3.0, 7.7]
    """
    native, thinnest = np.array(scans.spacing), min(measured.thickness for measured in structures.values())
    wanted = min(thinnest / _ENOUGH_ACROSS, scans.side / _VOXELS_OF_SIDE)
    for_memory = _edge_for(native, np.array(scans.extent), _VOXELS_OF_SCAN)
    spacing = np.maximum(native, max(wanted, for_memory))
    reason = f"larger than {_sizes(native)}, for {'memory' if for_memory > wanted else 'context'}"
    reason = "as the scans are" if (spacing == native).all() else reason
    found = [round(float(length), 3) for length in spacing]
    return Advised(found, f"{reason}; {fit_of_spacing(structures, scans, found)}")


def fit_of_spacing(structures: Structures, scans: Scans, spacing: Sequence[float]) -> str:
    """Return how many voxels of a spacing the thinnest structure is thick, in words."""
    name = min(structures, key=lambda key: structures[key].thickness)
    thickness = structures[name].thickness
    across = thickness / min(spacing)
    few = "" if across >= VOXELS_ACROSS else f", fewer than the {VOXELS_ACROSS:g} that a structure should have"
    return f"the thinnest structure, {name} ({thickness:.3g} {scans.unit}), is {across:.1f} voxels thick{few}."


def advised_levels(structures: Structures, scans: Scans, spacing: Sequence[float]) -> Advised:
    """Return the number of levels: 4; 3 for scans of few voxels, else 5 for structures that are eight voxels thick.

    Args:
        structures: by name; at least one.
        scans: of the data set.
        spacing: of the voxels that the network sees.
    """
    voxel = min(spacing)
    side = round(scans.side / voxel)
    if side < _VOXELS_OF_SIDE:
        return Advised(_LEVELS - 1, f"the shortest side of a scan is {side} voxels, fewer than {_VOXELS_OF_SIDE:g}.")
    name = max(structures, key=lambda key: structures[key].thickness)
    across = structures[name].thickness / voxel
    levels = _LEVELS + (across >= _ENOUGH_ACROSS)
    return Advised(
        levels, f"the thickest structure, {name}, is {across:.1f} voxels thick; from {_ENOUGH_ACROSS:g} on, 5 levels."
    )


def advised_patch(structures: Structures, scans: Scans, spacing: Sequence[float]) -> Advised:
    """Return the voxels of a patch that is about as long along every axis, and no longer than a scan.

    Args:
        structures: by name; at least one.
        scans: of the data set.
        spacing: of the voxels that the network sees.
    """
    voxel, extent, dims = np.array(spacing), np.array(scans.extent), len(spacing)
    edge = (_VOXELS_OF_PATCH[dims] * np.prod(voxel)) ** (1 / dims)
    most = np.maximum(np.ceil(extent / voxel / _STEP) * _STEP, 2 * _STEP)
    patch = np.clip(np.rint(edge / voxel / _STEP) * _STEP, 2 * _STEP, most).astype(int)
    name = max(structures, key=lambda key: max(structures[key].extent))
    return Advised(
        patch.tolist(),
        f"{_sizes(patch * voxel)} {scans.unit}, what a small machine takes; the longest structure, {name}, is "
        f"{max(structures[name].extent):.3g} {scans.unit} long.",
    )


def window_divisor(structure: StructureMeasures, side: float) -> int:
    """Return 8 for thin and rare structures, which windows of L / 8 suit, and 2 for all others.

    Args:
        structure: its measures.
        side: L, the shortest side of a scan.

    Example:
        >>> fault = StructureMeasures(900.0, (200.0, 250.0), 4.0, 0.02, 1.0)
        >>> window_divisor(fault, 256.0)
        8
    """
    return 8 if structure.thickness < _THIN * side and structure.share < _RARE else 2


def window_divisors(structures: Structures, scans: Scans) -> dict[str, int]:
    """Return the divisor that each structure asks for, by its name."""
    return {name: window_divisor(measured, scans.side) for name, measured in structures.items()}


def advised_window(structures: Structures, scans: Scans) -> Advised:
    """Return the divisor that most structures ask for; of equally many the smaller, since large windows lose less.

    Args:
        structures: by name; at least one.
        scans: of the data set.
    """
    votes = window_divisors(structures, scans)
    value = max(DIVISORS, key=lambda divisor: (list(votes.values()).count(divisor), -divisor))
    others = [f"{name} asks for L/{divisor}" for name, divisor in votes.items() if divisor != value]
    asked = f"{len(votes) - len(others)} of {len(votes)} structures ask for L/{value}"
    return Advised(value, f"L is {scans.side:.3g} {scans.unit}; {'; '.join([asked, *others])}.")


def advised_weights(structures: Structures, scans: Scans) -> Advised:
    """Return the weights of L / 2, L / 4 and L / 8 in a mixture of windows: half by structures, half evenly.

    Args:
        structures: by name; at least one.
        scans: of the data set.
    """
    votes = list(window_divisors(structures, scans).values())
    weights = [_EVEN_SHARE / len(DIVISORS) + (1 - _EVEN_SHARE) * votes.count(d) / len(votes) for d in DIVISORS]
    sizes = ", ".join(f"L/{divisor}" for divisor in DIVISORS)
    return Advised([round(weight, 3) for weight in weights], f"of {sizes}: half as the structures ask, half even.")


def _edge_for(native: np.ndarray, extent: np.ndarray, voxels: int) -> float:
    """Return the edge below which no voxel's edge lies, so that a scan has so many voxels at most."""
    low, high = 0.0, float((np.prod(extent) / voxels) ** (1 / len(native)) * 10 + native.max())
    if np.prod(extent / native) <= voxels:
        return low
    for _ in range(50):
        middle = (low + high) / 2
        fits = np.prod(extent / np.maximum(native, middle)) <= voxels
        low, high = (low, middle) if fits else (middle, high)
    return high


def _sizes(lengths: np.ndarray) -> str:
    return " x ".join(f"{length:.3g}" for length in lengths)
