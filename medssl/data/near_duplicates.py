"""Altered copies of a scan in training and in validation or test."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from medssl.scans.fingerprint import LIKENESS, cell_size, fingerprint, likeness, middle, middle_of


@dataclass(frozen=True)
class ListedScan:
    """A scan of a data list.

    Attributes:
        case: its id.
        section: of the list.
        file: of the scan.
        content: text that only scans with the same voxels share.
    """

    case: str
    section: str
    file: str
    content: str


@dataclass
class NearDuplicates:
    """Looks for altered copies of scans across sections, of which one is held out.

    Attributes:
        held_out: the sections of which no scan may be like one of another section.

    Example:
        >>> scan = np.random.default_rng(0).normal(size=(40, 40, 40))
        >>> found = NearDuplicates(("test",))
        >>> found.add(ListedScan("a", "training", "a.nii.gz", "1"), scan, np.eye(4))
        >>> found.add(ListedScan("b", "test", "b.nii.gz", "2"), 2 * scan[2:], np.eye(4))
        >>> [(scan.case, other.case, alike > 0.95) for scan, other, alike in found.pairs()]
        [('b', 'a', True)]
    """

    held_out: tuple[str, ...]
    _scans: list[ListedScan] = field(default_factory=list)
    _middles: list[np.ndarray] = field(default_factory=list)
    # Of the held-out scans, by their place among all.
    _prints: dict[int, np.ndarray] = field(default_factory=dict)
    _cell: float = 0.0

    def add(self, scan: ListedScan, voxels: np.ndarray, affine: np.ndarray) -> None:
        """Take the fingerprint of a scan; at most 50 KB of it are kept.

        Args:
            scan: which one it is.
            voxels: finite values with three axes.
            affine: voxel index to RAS mm, shape ``(4, 4)``.
        """
        # Only fingerprints with the same cells can be compared.
        self._cell = self._cell or cell_size(voxels.shape, affine)
        if scan.section in self.held_out:
            found = fingerprint(voxels, affine, self._cell)
            self._prints[len(self._scans)] = found
            self._middles.append(middle_of(found))
        else:
            self._middles.append(middle(voxels, affine, self._cell))
        self._scans.append(scan)

    def pairs(self) -> Iterator[tuple[ListedScan, ListedScan, float]]:
        """Yield a held-out scan, a scan of another section that is like it, and how alike they are; likest first."""
        middles = np.array(self._middles)
        for own, scan in ((self._prints[place], self._scans[place]) for place in self._prints):
            others = [place for place, other in enumerate(self._scans) if self._may_be_a_leak(scan, other)]
            alike = likeness(own, middles[others]) if others else np.empty(0)
            for place in np.argsort(-alike, kind="stable"):
                if alike[place] >= LIKENESS:
                    yield scan, self._scans[others[place]], float(alike[place])

    def _may_be_a_leak(self, scan: ListedScan, other: ListedScan) -> bool:
        # Of two held-out sections, the pair is told once.
        rank = {section: place for place, section in enumerate(self.held_out)}
        apart = rank.get(other.section, -1) < rank[scan.section]
        return apart and scan.content != other.content
