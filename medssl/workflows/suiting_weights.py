"""Which of the weights that come with medssl suit a set of scans."""

from collections.abc import Sequence

import numpy as np

from medssl.files import read_object
from medssl.packaging.shipped_weights import ShippedWeights, shipped_weights

# Voxels may be this many times larger or smaller, along an edge, than those that a backbone was pretrained with.
_LARGEST_RATIO = 3.0
# Of the extent of its patches that a scan has at least.
_LEAST_EXTENT = 0.5


def suiting_weights(modality: str, spacing: Sequence[float], extent: Sequence[float]) -> ShippedWeights | None:
    """Return the shipped weights that suit scans, or None.

    Of the weights of the modality those suit whose voxels are at most three times as large or small as those of the
    scans, and whose patches are at most twice as large as a scan. The nearest voxel size wins.

    Args:
        modality: of the scans.
        spacing: of the scans, mm along every axis.
        extent: of the scans, mm along every axis.

    Example:
        >>> suiting_weights("CT", (1.5, 1.5, 3.0), (380.0, 380.0, 300.0)).name
        'abdomen-ct'
    """
    fitting = {}
    for candidate in shipped_weights():
        if candidate.modality != modality or len(candidate.spacing) != len(spacing):
            continue
        ratio = abs(np.log(np.prod(spacing) / np.prod(candidate.spacing))) / 3
        patch = np.array(_patch_size(candidate)) * candidate.spacing
        if ratio <= np.log(_LARGEST_RATIO) and bool((np.array(extent) >= _LEAST_EXTENT * patch).all()):
            fitting[candidate.name] = (ratio, candidate)
    return min(fitting.values(), key=lambda pair: pair[0])[1] if fitting else None


def _patch_size(weights: ShippedWeights) -> list[int]:
    return read_object(weights.folder / "configs" / "train.json")["patch_size"]
