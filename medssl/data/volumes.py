"""One preprocessed case on disk: voxels, masks and maps, memory-mapped, and a JSON file that describes them.

The folder of a case holds

* ``image.npy``: int16, shape ``(C, D, H, W)``; the image is ``slope * value + intercept``,
* ``foreground.npy``: uint8, shape ``(1, D, H, W)``; 1 is body,
* ``regions.npy``, if the preprocessing finds superpixels: int32, shape ``(1, D, H, W)``; id of the region,
* ``case.json``: a `StoredVolume`.

The last axis of the image is the slowest on disk: patches are flat along it, so a patch lies in few pieces. Readers get
the axes back in their usual order, ``(C, H, W, D)``, without a copy.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medssl.files import file_sha256, replacing, write_json

FORMAT = 1
IMAGE, FOREGROUND, REGIONS, RECORD = "image.npy", "foreground.npy", "regions.npy", "case.json"
_DTYPES = {IMAGE: np.dtype(np.int16), FOREGROUND: np.dtype(np.uint8), REGIONS: np.dtype(np.int32)}
_LOWEST, _LEVELS = -32768, 65535
# Of images in 0..1. An odd multiple of the 4,095 steps to which `RandBezierIntensityd` rounds, so that rounding here
# moves no voxel to another of those: what that transform gives is the same with a store as without.
_UNIT_LEVELS = 15 * 4095
# Rows quantised at a time: as much as the caches of a core hold.
_BLOCK_VOXELS = 1 << 18


@dataclass(frozen=True)
class StoredVolume:
    """The record of a stored case.

    Attributes:
        format: version of the format.
        case: id of the case.
        key: hash of the source's content, the preprocessing and the format.
        preprocessing: hash of the preprocessing.
        source: name, SHA-256, bytes and time of change of the file or folder it was made of.
        shape: of the image, ``(C, *spatial)``.
        spacing: mm between voxels along each spatial axis.
        affine: voxel index to RAS mm, 4 x 4.
        slope: of the stored values.
        intercept: of the stored values.
        sha256: of the array files there are, by name.
    """

    format: int
    case: str
    key: str
    preprocessing: str
    source: dict[str, Any]
    shape: list[int]
    spacing: list[float]
    affine: list[list[float]]
    slope: float
    intercept: float
    sha256: dict[str, str]


def write_volume(
    folder: Path,
    image: Tensor,
    foreground: Tensor,
    affine: np.ndarray,
    identity: Mapping[str, Any],
    regions: Tensor | None = None,
) -> StoredVolume:
    """Write a case into a folder, and return its record.

    Intensities in 0..1 are rounded to multiples of 1 / 61,425, by at most 8.3e-6. Others are rounded to 65,536 levels
    between the lowest and the highest, by at most 7.7e-6 of that range.

    Args:
        folder: new; its files are flushed to the disk.
        image: shape ``(C, *spatial)``.
        foreground: of the body, shape ``(1, *spatial)``.
        affine: voxel index to RAS mm.
        identity: `case`, `key`, `preprocessing` and `source` of the `StoredVolume`.
        regions: ids, shape ``(1, *spatial)``.

    Raises:
        ValueError: if the image has values that are not finite.
        OSError: if the disk is full.

    Example:
        >>> import tempfile
        >>> folder, image = Path(tempfile.mkdtemp()), torch.rand(1, 6, 5, 4)
        >>> identity = {"case": "a", "key": "", "preprocessing": "", "source": {}}
        >>> volume = write_volume(folder, image, image > 0.5, np.eye(4), identity)
        >>> stored = map_volume(folder, volume)
        >>> slope, intercept = stored["intensity"]
        >>> bool((stored["image"] * slope + intercept - image).abs().max() < 8.3e-6)
        True
    """
    quantised, slope, intercept = _quantise(image.detach().as_subclass(Tensor).numpy())
    arrays = {IMAGE: quantised, FOREGROUND: _unchanged(foreground, FOREGROUND)}
    arrays |= {} if regions is None else {REGIONS: _unchanged(regions, REGIONS)}
    volume = StoredVolume(
        format=FORMAT,
        **identity,
        shape=list(image.shape),
        spacing=np.linalg.norm(np.asarray(affine, float)[:3, :3], axis=0).tolist(),
        affine=np.asarray(affine, float).tolist(),
        slope=slope,
        intercept=intercept,
        sha256={name: _write_array(folder / name, array) for name, array in arrays.items()},
    )
    write_json(folder / RECORD, asdict(volume))
    return volume


def read_record(folder: Path) -> StoredVolume | None:
    """Return the record of the case in a folder, or None if there is no whole record of this format."""
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return StoredVolume(**content) if content["format"] == FORMAT else None
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None


def map_volume(folder: Path, volume: StoredVolume) -> dict[str, Any]:
    """Return a case as mapped tensors: ``case``, ``image`` (int16), ``foreground`` (bool), ``intensity``, ``regions``.

    Only the headers are read; voxels come from the disk when they are used, and the operating system shares them among
    processes and drops them when it needs memory. Writing to the tensors changes neither the files nor other processes.
    The regions (int32) are included if they were stored.

    Args:
        folder: of the case.
        volume: its record.

    Raises:
        ValueError: if an array is missing, cut off, or differs from its record.
    """
    mapped = {
        "case": volume.case,
        "image": _map(folder / IMAGE, volume),
        "foreground": _map(folder / FOREGROUND, volume),
        "intensity": (volume.slope, volume.intercept),
    }
    return {**mapped, "regions": _map(folder / REGIONS, volume)} if REGIONS in volume.sha256 else mapped


def is_undamaged(folder: Path, volume: StoredVolume, fully: bool = False) -> bool:
    """Tell whether the arrays of a case agree with its record.

    Args:
        folder: of the case.
        volume: its record.
        fully: compare the checksums of the whole files, not only headers and sizes.
    """
    try:
        map_volume(folder, volume)
        return not fully or all(file_sha256(folder / name) == known for name, known in volume.sha256.items())
    except (ValueError, OSError):
        return False


def _map(path: Path, volume: StoredVolume) -> Tensor:
    channels, *spatial = volume.shape
    shape = (channels if path.name == IMAGE else 1, spatial[-1], *spatial[:-1])
    try:
        # Copy on write, since torch warns of arrays that cannot be written.
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}); run `medssl prepare` again.") from error
    if array.shape != shape or array.dtype != _DTYPES[path.name] or not array.flags.c_contiguous:
        raise ValueError(f"{path} holds {array.dtype} {array.shape}, not {shape}; run `medssl prepare` again.")
    stored = torch.from_numpy(np.moveaxis(array, 1, -1))
    return stored.view(torch.bool) if path.name == FOREGROUND else stored


def _quantise(image: np.ndarray) -> tuple[np.ndarray, float, float]:
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("the preprocessed image has values that are NaN or Inf; run `medssl check`")
    if low >= 0 and high <= 1:
        low, slope = 0.0, 1 / _UNIT_LEVELS
    else:
        slope = (high - low) / _LEVELS
    factor = np.float32(1 / slope if slope else 0)

    def levels(block: np.ndarray) -> np.ndarray:
        return np.rint((block - np.float32(low)) * factor) + np.float32(_LOWEST)

    return _last_axis_first(image, _DTYPES[IMAGE], levels), slope, low - slope * _LOWEST


def _unchanged(values: Tensor, name: str) -> np.ndarray:
    return _last_axis_first(values.detach().as_subclass(Tensor).numpy(), _DTYPES[name], np.asarray)


def _last_axis_first(array: np.ndarray, dtype: np.dtype, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Turn ``(C, *spatial)`` to ``(C, last, *others)``, changing the values in blocks that the cache holds."""
    channels, *spatial = array.shape
    turned = np.empty((channels, spatial[-1], *spatial[:-1]), dtype)
    rows = max(_BLOCK_VOXELS // (array[:, 0].size), 1)
    for start in range(0, spatial[0], rows):
        turned[:, :, start : start + rows] = np.moveaxis(change(array[:, start : start + rows]), -1, 1)
    return turned


def _write_array(path: Path, array: np.ndarray) -> str:
    digest = hashlib.sha256()
    with replacing(path) as temporary, temporary.open("wb") as handle:
        # NumPy does not say why it could not write to a file; to anything else it hands over the bytes.
        np.lib.format.write_array(_Hashing(handle, digest), array, allow_pickle=False)
    return digest.hexdigest()


class _Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, handle: Any, digest: Any) -> None:
        self.handle = handle
        self.digest = digest

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.handle.write(data)
