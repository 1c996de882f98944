"""Which scan of a folder to label next."""

import hashlib
import json
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from monai.transforms import SpatialPad

from medssl.networks.heads import LinearHead
from medssl.networks.rows import LinearHeadOnRows
from medssl.ops.windows import plan_windows
from medssl.packaging.loading import LoadedBundle
from medssl.probe.arrays import read_arrays, smallest_float, write_arrays
from medssl.probe.cache import module_digest
from medssl.probe.next_scan import confidence, farthest
from medssl.probe.windows import central_features
from medssl.workflows.background import Background
from medssl.workflows.points import scan_state
from medssl.workflows.running import bare_errors

logger = logging.getLogger(__name__)
# Of a scan, drawn anywhere in the body.
_VOXELS = 4000


class NextScan:
    """Chooses the scan whose label should help most.

    With a probe, it is the scan that the probe is least sure of (`medssl.probe.next_scan.confidence`), but no copy of
    a labelled one; before the first training, the one least like the labelled ones
    (`medssl.probe.next_scan.farthest`). Both are judged by the features of random voxels, which are computed in the
    background, as they take seconds a scan, and kept. A choice is among the scans whose features are there.

    Args:
        bundle: whose backbone and preprocessing are used.
        folder: of the features, from one start to the next.
        background: computes them.
    """

    def __init__(self, bundle: LoadedBundle, folder: Path, background: Background) -> None:
        self.bundle = bundle
        self.folder = folder
        self.background = background
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        config = json.dumps(dict(bundle.config), sort_keys=True, default=str)
        decided_by = f"{module_digest(bundle.network.backbone).hexdigest()} {config} {_VOXELS}"
        self._key = hashlib.sha256(decided_by.encode()).hexdigest()
        self._asked: set[tuple[str, str]] = set()

    def choose(self, scans: Mapping[str, Path], labelled: Collection[str], head: LinearHead | None) -> str | None:
        """Return the case to label next, or None if all have a label; the first by name while nothing is known.

        Args:
            scans: files by case.
            labelled: cases that have a label.
            head: the newest probe; None before the first training.
        """
        waiting = sorted(set(scans) - set(labelled))
        known = {case: found for case in sorted(scans) if (found := self._known(case, scans[case])) is not None}
        candidates = [case for case in known if case in waiting]
        if not candidates or (head is None and len(candidates) == len(known)):
            return waiting[0] if waiting else None
        if head is None:
            rows = [row for row, case in enumerate(known) if case not in waiting]
            means = np.stack([features.mean(axis=0, dtype=np.float64) for features in known.values()])
            chosen = list(known)[farthest(means, rows)]
        else:
            new = [
                case for case in candidates if not _is_among(known[case], [known[c] for c in known if c not in waiting])
            ]
            chosen = min(new or candidates, key=lambda case: _confidence(head, known[case]))
        logger.info("%s should be labelled next, of %d scans compared.", chosen, len(candidates))
        return chosen

    def features(self, scan: Path) -> np.ndarray:
        """Return the features of a seeded choice of voxels of a scan, shape ``(N, C)``."""
        with bare_errors():
            image = self.bundle.preprocessing()({"image": str(scan)})["image"]
        backbone = self.bundle.network.backbone.to(self.device).eval()
        plan = plan_windows(
            *(image.shape[1:], self.bundle.patch_size, self.bundle.overlap),
            stride=backbone.strides[-1],
            largest_growth=np.inf,
        )
        padded = torch.as_tensor(np.asarray(SpatialPad(plan.roi_size)(image)), dtype=torch.float32)
        flat = np.random.default_rng(0).choice(math.prod(image.shape[1:]), _VOXELS)
        first = np.maximum(np.array(plan.roi_size) - image.shape[1:], 0) // 2
        voxels = np.stack(np.unravel_index(flat, image.shape[1:]), axis=1) + first
        return central_features(backbone, padded, voxels, plan.roi_size, plan.overlap, self.device, upsampling="linear")

    def _known(self, case: str, scan: Path) -> np.ndarray | None:
        """Return the features of a scan, or let them be computed."""
        key = hashlib.sha256(f"{self._key} {scan_state(scan)}".encode()).hexdigest()
        found = read_arrays(self.folder, key, case)
        if found is not None:
            return found["features"]
        if (case, key) not in self._asked:
            self._asked.add((case, key))
            self.background.later(partial(self._write, key, case, scan))
        return None

    def _write(self, key: str, case: str, scan: Path) -> None:
        write_arrays(self.folder, key, case, {"features": smallest_float(self.features(scan))})


def _is_among(features: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    """Say whether a scan has the same voxels as another, whose features then are the same."""
    return any(np.array_equal(features, other) for other in others)


@torch.no_grad()
def _confidence(head: LinearHead, features: np.ndarray) -> float:
    return confidence(LinearHeadOnRows(head.eval())(torch.from_numpy(features.astype(np.float32))))
