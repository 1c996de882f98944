"""Frozen features of chosen voxels of a case, on disk: rows of numbers that a linear probe learns from."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monai.transforms import Randomizable, Transform

from medssl.files import file_sha256, replacing, write_json

logger = logging.getLogger(__name__)
# Larger values do not fit into float16.
_LARGEST_HALF = 6e4


class VoxelRows(NamedTuple):
    """Features of voxels of one or several patches, one patch after the other.

    Attributes:
        features: shape ``(N, C)``.
        labels: class of every row, 0 is background, shape ``(N,)``.
        weights: number of voxels of its patch that every row stands for, shape ``(N,)``.
        counts: number of rows of every patch, shape ``(P,)``.
    """

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    counts: np.ndarray


def choose_voxels(label: np.ndarray, num_voxels: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Give flat indices of the voxels of a patch that are kept, in ascending order, and how many each stands for.

    Half of them are shared evenly by the classes in the patch, each giving at most all that it has; the others are
    background. A patch of no more than `num_voxels` voxels is kept whole. Weighted sums over the kept voxels are
    unbiased estimates of sums over the patch (Horvitz and Thompson, 1952).

    Args:
        label: integer map, 0 is background.
        num_voxels: the most that are kept.
        rng: of the choice.

    Example:
        >>> label = np.array([[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 2]])
        >>> kept, weights = choose_voxels(label, 8, np.random.default_rng(0))
        >>> label.ravel()[kept].tolist(), weights.tolist()
        ([0, 0, 0, 0, 0, 1, 1, 2], [1.2000000476837158, 1.2000000476837158, ..., 2.5, 2.5, 1.0])
    """
    if label.size <= num_voxels:
        return np.arange(label.size), np.ones(label.size, dtype=np.float32)
    found = {int(value): np.flatnonzero(label == value) for value in np.unique(label)}
    quota = num_voxels // (2 * max(len(found) - (0 in found), 1))
    kept = {value: _some(voxels, quota, rng) for value, voxels in found.items() if value != 0}
    kept[0] = _some(found.get(0, np.empty(0, dtype=np.int64)), num_voxels - sum(map(len, kept.values())), rng)
    flat = np.concatenate(list(kept.values()))
    weights = np.concatenate([np.full(len(k), len(found[v]) / len(k)) for v, k in kept.items() if len(k)])
    order = np.argsort(flat)
    return flat[order], weights[order].astype(np.float32)


def _some(voxels: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    return voxels if len(voxels) <= number else rng.choice(voxels, number, replace=False, shuffle=False)


def write_rows(folder: str | os.PathLike[str], key: str, case: str, rows: VoxelRows) -> None:
    """Write the rows of a case: two arrays, then the JSON file without which they do not count.

    Args:
        folder: of the rows of all cases.
        key: 64 hexadecimal digits that stand for all that decides the rows.
        case: id of the case.
        rows: their features are kept as float16, or as float32 where they do not fit.
    """
    fits = np.abs(rows.features).max(initial=0) < _LARGEST_HALF
    arrays = {
        "features": rows.features.astype(np.float16 if fits else np.float32),
        "voxels": np.stack([rows.labels, rows.weights]).astype(np.float32),
    }
    stem = _stem(folder, key, case)
    for name, array in arrays.items():
        with replacing(f"{stem}.{name}.npy") as temporary:
            np.save(temporary, array, allow_pickle=False)
    sha256 = {name: file_sha256(f"{stem}.{name}.npy") for name in arrays}
    write_json(f"{stem}.json", {"key": key, "case": case, "counts": rows.counts.tolist(), "sha256": sha256})


def read_rows(folder: str | os.PathLike[str], key: str, case: str) -> VoxelRows | None:
    """Give the rows of a case, their features memory-mapped, or None where there are none of that key that are whole.

    Args:
        folder: of the rows of all cases.
        key: as given to `write_rows`.
        case: id of the case.
    """
    stem = _stem(folder, key, case)
    path = Path(f"{stem}.json")
    if not path.is_file():
        return None
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        whole = description["key"] == key and all(
            file_sha256(f"{stem}.{name}.npy") == description["sha256"][name] for name in ("features", "voxels")
        )
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        logger.warning("The features %s are damaged; they are computed again.", path)
        return None
    labels, weights = np.load(f"{stem}.voxels.npy", allow_pickle=False)
    # Mapped as copy-on-write, because torch warns of what is read-only; the file stays as it is.
    features = np.load(f"{stem}.features.npy", mmap_mode="c", allow_pickle=False)
    return VoxelRows(features, labels.astype(np.int64), weights, np.array(description["counts"]))


def _stem(folder: str | os.PathLike[str], key: str, case: str) -> str:
    return str(Path(folder) / f"{case}-{key[:16]}")


class RowsOfRandomPatch(Randomizable, Transform):
    """Give the rows of one patch of a case, drawn evenly: ``features``, ``label`` and ``weight``, as NumPy arrays.

    A random transform for `medssl.data.sampling.StepBatches` over cases ``{"case", "rows"}``.

    Example:
        >>> rows = VoxelRows(np.eye(3), np.array([0, 1, 2]), np.ones(3), np.array([1, 2]))
        >>> RowsOfRandomPatch().set_random_state(0)({"case": "a", "rows": rows})["label"].tolist()
        [0]
    """

    def __call__(self, case: Mapping[str, Any]) -> dict[str, Any]:
        """Return the rows of a patch of ``case``."""
        rows: VoxelRows = case["rows"]
        ends = np.cumsum(rows.counts)
        patch = self.R.randint(len(ends))
        part = slice(ends[patch] - rows.counts[patch], ends[patch])
        return {
            "case": case["case"],
            "features": np.asarray(rows.features[part]),
            "label": rows.labels[part],
            "weight": rows.weights[part],
        }


def collate_volumes(cases: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Give whole cases, each one patch, as a batch, for a data loader over cases ``{"case", "rows"}``."""
    batch: dict[str, list[Any]] = {"case": [case["case"] for case in cases]}
    for key, name in (("features", "features"), ("label", "labels"), ("weight", "weights")):
        batch[key] = [np.asarray(getattr(case["rows"], name)) for case in cases]
    return batch
