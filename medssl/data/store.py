"""The volume store: preprocessed cases in one folder, from which patches are read without reading whole volumes.

``medssl prepare`` makes it. The folder holds ``cases/CASE/KEY`` (see `medssl.data.volumes`), where KEY stands for the
content of the scan and the preprocessing, and the manifest ``store.json``, which lists the whole cases of one
preprocessing.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data import Dataset

from medssl.data.volumes import FORMAT, StoredVolume, is_undamaged, map_volume, read_record
from medssl.files import file_sha256, write_json
from medssl.scans.channels import ImagePath, image_channels, image_files
from medssl.scans.dicom import dicom_series
from medssl.scans.readers import is_series

MANIFEST = "store.json"
_MANIFEST_KEYS = ("format", "recipe", "preprocessing", "preprocessing_sha256", "cases")
_DETACHED = re.compile(rb"^(?:data ?file:|ElementDataFile\s*=)[ \t]*(.+?)\s*$", re.MULTILINE | re.IGNORECASE)


class StoreDataset(Dataset):
    """The cases of a list from a store: ``{"case", "image", "foreground", "intensity"}`` and perhaps more.

    ``image`` (int16, shape ``(C, *spatial)``), ``foreground`` (bool, shape ``(1, *spatial)``) and, if the preprocessing
    found superpixels, ``regions`` (int32, shape ``(1, *spatial)``) are mapped from the disk afresh for each item, so
    the memory of a worker does not grow with the number of cases. The image in its own units is ``slope * image +
    intercept`` with ``intensity = (slope, intercept)``. A ``position`` comes from the list.

    Opening checks the preprocessing of the store, the records, the headers and sizes of the arrays, and the size and
    time of change of the sources that are at hand. It does not check checksums; ``medssl prepare --verify`` does.

    Args:
        folder: of the store.
        cases: of a data list.
        preprocessing: its hash (`preprocessing_sha256`) in the run that reads the store.

    Raises:
        FileNotFoundError: if the folder is not a store.
        ValueError: if the store has another preprocessing or format, lacks a case, or a case is stale or damaged.
    """

    def __init__(self, folder: str | os.PathLike[str], cases: Sequence[Mapping[str, str]], preprocessing: str) -> None:
        self.folder = Path(folder)
        super().__init__(require_stored(self.folder, cases, preprocessing))
        self.positions = [{"position": case["position"]} if "position" in case else {} for case in cases]

    def _transform(self, index: int) -> dict[str, Any]:
        volume: StoredVolume = self.data[index]
        return map_volume(volume_folder(self.folder, volume.case, volume.key), volume) | self.positions[index]


def require_stored(store: Path, cases: Sequence[Mapping[str, str]], preprocessing: str) -> list[StoredVolume]:
    """Check that a store holds cases as a run needs them, and return their records.

    Args:
        store: its folder.
        cases: of a data list.
        preprocessing: its hash (`preprocessing_sha256`) in the run.

    Raises:
        FileNotFoundError: if the folder is not a store.
        ValueError: if the store has another preprocessing or format, lacks a case, or a case is stale or damaged.
    """
    manifest = read_manifest(store)
    if manifest["preprocessing_sha256"] != preprocessing:
        raise ValueError(f"{store} was prepared with other settings; run `medssl prepare` again.")
    lacking = [case["case"] for case in cases if case["case"] not in manifest["cases"]]
    if lacking:
        raise ValueError(
            f"{store} lacks {len(lacking)} of {len(cases)} cases, such as {', '.join(lacking[:5])}; run "
            "`medssl prepare` with the same data list."
        )
    return [_usable(store, case, manifest["cases"][case["case"]]) for case in cases]


def case_folder(store: Path, case: str) -> Path:
    """Return the folder with everything that is kept of a case."""
    return store / "cases" / case


def volume_folder(store: Path, case: str, key: str) -> Path:
    """Return the folder of the arrays of a case; each key has its own, so one is never mistaken for another."""
    return case_folder(store, case) / key[:16]


def read_manifest(store: Path) -> dict[str, Any]:
    """Return the manifest of a store: ``format``, ``recipe``, ``preprocessing``, ``preprocessing_sha256``, ``cases``.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it cannot be read, or has a format that this version of medssl does not know.
    """
    path = store / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{store} holds no {MANIFEST}: finish or make the store with `medssl prepare`.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] == FORMAT:
            return {key: manifest[key] for key in _MANIFEST_KEYS}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}); run `medssl prepare` again.") from error
    raise ValueError(
        f"{path} has format {manifest['format']}, and this version of medssl reads format {FORMAT}: update medssl, or "
        "run `medssl prepare` into another folder."
    )


def write_manifest(store: Path, preprocessing: Sequence[Any], recipe: Sequence[str]) -> list[str]:
    """Write the manifest of a store from the cases that are whole now, and return their ids.

    Cases of another preprocessing or format are left out. Hold a lock, so that the last of two writers sees the most.

    Args:
        store: its folder.
        preprocessing: the resolved settings of the transforms.
        recipe: names of the files they came from.
    """
    wanted = preprocessing_sha256(preprocessing)
    volumes = [volume for volume in _volumes(store) if volume.preprocessing == wanted]
    content = {
        "format": FORMAT,
        "recipe": list(recipe),
        "preprocessing": preprocessing,
        "preprocessing_sha256": wanted,
        "cases": {volume.case: volume.key for volume in volumes},
    }
    write_json(store / MANIFEST, content)
    return list(content["cases"])


def preprocessing_sha256(preprocessing: Sequence[Any]) -> str:
    """Return the hash of the resolved settings of transforms, whatever the order of their names.

    Example:
        >>> same = [{"a": 1, "b": (2, 3)}], [{"b": [2, 3], "a": 1}]
        >>> preprocessing_sha256(same[0]) == preprocessing_sha256(same[1]) != preprocessing_sha256([])
        True
    """
    return hashlib.sha256(json.dumps(preprocessing, sort_keys=True).encode()).hexdigest()


def case_key(source_sha256: str, preprocessing: str) -> str:
    """Return the hash that decides whether a stored case is still what preparing it would yield.

    Args:
        source_sha256: of the content of the scan.
        preprocessing: hash of its settings.
    """
    return hashlib.sha256(f"{FORMAT} {source_sha256} {preprocessing}".encode()).hexdigest()


def describe_source(image: ImagePath | Sequence[ImagePath]) -> dict[str, Any]:
    """Return the ``name``, ``sha256``, ``bytes`` and time of change of a scan: a file, a DICOM series, or channels.

    The detached data of a ``.nhdr`` or ``.mhd`` header count too.

    Raises:
        OSError: if a file cannot be read.
    """
    hashes = [file_sha256(file) for file in _source_files(image)]
    # Which of several channels of a file are taken decides as much as what it holds.
    hashes += [f"{channel.number}of{channel.count}" for channel in image_channels(image) if channel.count > 1]
    joined = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    name = " + ".join(Path(file).name for file in image_files(image))
    return {"name": name, "sha256": joined, **source_stamp(image)}


def source_stamp(image: ImagePath | Sequence[ImagePath]) -> dict[str, int]:
    """Return the ``bytes`` and the latest time of change of a scan, a cheap sign that it was left alone."""
    stats = [file.stat() for file in _source_files(image)]
    return {"bytes": sum(s.st_size for s in stats), "changed_ns": max((s.st_mtime_ns for s in stats), default=0)}


def has_source(image: ImagePath | Sequence[ImagePath]) -> bool:
    """Tell whether all files of a scan are at hand."""
    return all(Path(file).exists() for file in image_files(image))


def _source_files(image: ImagePath | Sequence[ImagePath]) -> list[Path]:
    return [file for path in image_files(image) for file in _files_of(Path(path))]


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if is_series(path):
        return [Path(file) for file in dicom_series(path).files]
    if not path.name.lower().endswith((".nhdr", ".mhd")):
        return [path]
    with path.open("rb") as handle:
        named = _DETACHED.search(handle.read(1 << 16))
    detached = path.parent / named[1].decode(errors="replace") if named else path
    return [path, detached] if detached.is_file() else [path]


def _volumes(store: Path) -> Iterator[StoredVolume]:
    for folder in sorted(store.glob("cases/*/*/")):
        volume = read_record(folder)
        if volume is not None and folder.name == volume.key[:16] and is_undamaged(folder, volume):
            yield volume


def _usable(store: Path, case: Mapping[str, str], key: str) -> StoredVolume:
    folder, image = volume_folder(store, case["case"], key), case["image"]
    volume = read_record(folder)
    if volume is None or volume.key != key:
        raise ValueError(f"{folder}, which {store / MANIFEST} lists, is missing; run `medssl prepare` again.")
    map_volume(folder, volume)
    if has_source(image) and source_stamp(image) != {name: volume.source[name] for name in ("bytes", "changed_ns")}:
        raise ValueError(
            f"{image_files(image)[0]} is not the file that {folder} was made of, or was changed since; run "
            "`medssl prepare` again, which keeps what is unchanged."
        )
    return volume
