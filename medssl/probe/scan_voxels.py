"""Features of some voxels of a scan, on disk, that outlive a change of its label."""

import json
import logging
import os
import zipfile
from pathlib import Path

import numpy as np

from medssl.files import replacing

logger = logging.getLogger(__name__)
# Larger values do not fit into float16.
_LARGEST_HALF = 6e4


def choose_steady_voxels(label: np.ndarray, num_voxels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Give flat indices of the voxels of a scan that are kept, ascending, and how many voxels each stands for.

    Half of them are shared evenly by the classes, each giving at most all that it has; the others are background.
    Every voxel has a rank drawn from the seed, whatever its class, and a class gives its voxels of lowest rank
    (coordinated sampling: Cohen and Kaplan, "Summarizing data using bottom-k sketches", 2007). So another label of the
    same scan has most voxels in common with the former, while each choice on its own is random.

    Args:
        label: integer map, 0 is background.
        num_voxels: the most that are kept; a scan with no more is kept whole.
        seed: of the ranks: the same for every label of a scan.

    Example:
        >>> label = np.zeros(1000, dtype=int)
        >>> label[:300] = 1
        >>> kept, weights = choose_steady_voxels(label, 100, seed=0)
        >>> int((label[kept] == 1).sum()), round(float(weights.sum()))
        (50, 1000)
        >>> label[300:310] = 1
        >>> len(np.setdiff1d(choose_steady_voxels(label, 100, seed=0)[0], kept)) < 10
        True
    """
    values = label.ravel()
    if len(values) <= num_voxels:
        return np.arange(len(values)), np.ones(len(values), dtype=np.float32)
    ranks = np.random.default_rng(seed).random(len(values), dtype=np.float32)
    found = {int(value): np.flatnonzero(values == value) for value in np.unique(values)}
    quota = num_voxels // (2 * max(len(found) - (0 in found), 1))
    kept = {value: _lowest(voxels, quota, ranks) for value, voxels in found.items() if value != 0}
    kept[0] = _lowest(found.get(0, np.empty(0, np.int64)), num_voxels - sum(map(len, kept.values())), ranks)
    flat = np.concatenate(list(kept.values()))
    weights = np.concatenate([np.full(len(k), len(found[v]) / len(k)) for v, k in kept.items() if len(k)])
    order = np.argsort(flat)
    return flat[order], weights[order].astype(np.float32)


def _lowest(voxels: np.ndarray, number: int, ranks: np.ndarray) -> np.ndarray:
    if len(voxels) <= number:
        return voxels
    return voxels[np.argpartition(ranks[voxels], number)[:number]]


def write_features(path: str | os.PathLike[str], key: str, voxels: np.ndarray, features: np.ndarray) -> None:
    """Write the features of some voxels of a scan, whole or not at all.

    Args:
        path: ending in ``.npz``.
        key: text that stands for all that decides the features.
        voxels: flat indices, ascending.
        features: one row a voxel; kept as float16, or as float32 where they do not fit.
    """
    fits = np.abs(features).max(initial=0) < _LARGEST_HALF
    with replacing(path) as temporary:
        kept = features.astype(np.float16 if fits else np.float32)
        np.savez(temporary, key=np.array(json.dumps(key)), voxels=voxels, features=kept)


def read_features(path: str | os.PathLike[str], key: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Give the voxels and the features of a file, or None where there are none of that key that are whole.

    Args:
        path: as given to `write_features`.
        key: as given to `write_features`.
    """
    if not Path(path).is_file():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            if str(arrays["key"]) != json.dumps(key):
                return None
            return arrays["voxels"], arrays["features"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        logger.warning("The features %s are damaged; they are computed again.", path)
        return None
