"""Which of the weights that come with medssl suit a set of scans."""

from collections.abc import Sequence

import numpy as np

from medssl.files import read_object
from medssl.packaging.shipped_weights import ShippedWeights, shipped_weights

# Voxels may be this many times larger along an edge than those that a backbone was pretrained with, and this many times
# smaller, as detail that is averaged away does less harm than detail that is not there.
_LARGEST_RATIO, _SMALLEST_RATIO = 3.0, 6.0
# Of the extent of its patches that a scan has at least.
_LEAST_EXTENT = 0.5


def suiting_weights(modality: str, spacing: Sequence[float], extent: Sequence[float]) -> ShippedWeights | None:
    """Return the shipped weights that suit scans, or None.

    Of the weights of the modality those suit with which a scan's voxels are at most three times as large, or six times
    as small, and whose patches are at most twice as large as a scan. The largest voxels win: they are the fastest, and
    with few labels at least as good (docs/results.md, "Features for the time").

    Args:
        modality: of the scans.
        spacing: of the scans, mm along every axis.
        extent: of the scans, mm along every axis.

    Example:
        >>> suiting_weights("CT", (1.5, 1.5, 3.0), (380.0, 380.0, 300.0)).name
        'abdomen-ct-4mm'
    """
    fitting = []
    for candidate in shipped_weights():
        if candidate.modality != modality or len(candidate.spacing) != len(spacing):
            continue
        ratio = float(np.prod(spacing) / np.prod(candidate.spacing)) ** (1 / len(spacing))
        patch = np.array(_patch_size(candidate)) * candidate.spacing
        large_enough = bool((np.array(extent) >= _LEAST_EXTENT * patch).all())
        if 1 / _SMALLEST_RATIO <= ratio <= _LARGEST_RATIO and large_enough:
            fitting.append(candidate)
    return max(fitting, key=lambda weights: float(np.prod(weights.spacing)), default=None)


def _patch_size(weights: ShippedWeights) -> list[int]:
    return read_object(weights.folder / "configs" / "train.json")["patch_size"]
