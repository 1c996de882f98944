"""Arrays of a case on disk, found again only under the key of all that decides them."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medssl.files import replacing, write_json

logger = logging.getLogger(__name__)
# Larger values do not fit into float16.
_LARGEST_HALF = 6e4


def write_arrays(folder: str | os.PathLike[str], key: str, case: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays of a case: one file each, then the JSON file without which they do not count.

    Args:
        folder: of the arrays of all cases.
        key: 64 hexadecimal digits that stand for all that decides the arrays.
        case: id of the case.
        arrays: by name.
    """
    stem = _stem(folder, key, case)
    for name, array in arrays.items():
        with replacing(f"{stem}.{name}.npy") as temporary:
            np.save(temporary, array, allow_pickle=False)
    sha256 = {name: _sha256(array) for name, array in arrays.items()}
    write_json(f"{stem}.json", {"key": key, "case": case, "sha256": sha256})


def read_arrays(folder: str | os.PathLike[str], key: str, case: str) -> dict[str, np.ndarray] | None:
    """Read the arrays of a case, memory-mapped, or None where there are none of that key that are whole.

    Args:
        folder: of the arrays of all cases.
        key: as given to `write_arrays`.
        case: id of the case.
    """
    stem = _stem(folder, key, case)
    path = Path(f"{stem}.json")
    if not path.is_file():
        return None
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        sums = description["sha256"]
        # Mapped as copy-on-write, because torch warns of what is read-only; the files stay as they are.
        arrays = {name: np.load(f"{stem}.{name}.npy", mmap_mode="c", allow_pickle=False) for name in sums}
        # Of what was opened, not of what another process may have put in its place since.
        whole = description["key"] == key and all(_sha256(arrays[name]) == sums[name] for name in sums)
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        whole = False
    if not whole:
        logger.warning("The features %s are damaged; they are computed again.", path)
        return None
    return arrays


def _sha256(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def smallest_float(features: np.ndarray) -> np.ndarray:
    """Convert features to float16, or to float32 where they do not fit.

    Example:
        >>> smallest_float(np.array([1.0])).dtype, smallest_float(np.array([1e5])).dtype
        (dtype('float16'), dtype('float32'))
    """
    fits = np.abs(features).max(initial=0) < _LARGEST_HALF
    return features.astype(np.float16 if fits else np.float32)


def _stem(folder: str | os.PathLike[str], key: str, case: str) -> str:
    return str(Path(folder) / f"{case}-{key[:16]}")
