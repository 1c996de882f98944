"""The scans at a path that a user gives."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssl.scans.dicom import series_path
from medssl.scans.headers import read_header
from medssl.scans.pictures import PICTURE_ENDINGS
from medssl.scans.readers import ITK_ENDINGS, NIFTI_ENDINGS

_INDEX = ("DICOMDIR", "DIRFILE")
_VOLUMES = (*NIFTI_ENDINGS, *ITK_ENDINGS, *PICTURE_ENDINGS)


def input_cases(path: str | os.PathLike[str], series: str = "", channels: Sequence[str] = ()) -> list[dict[str, Any]]:
    """List every scan at a path as ``{"case", "image"}``.

    A file is one scan. A folder of volumes (NIfTI, NRRD, MetaImage) or pictures (PNG, TIFF, BMP) holds one scan per
    file; any other folder with files in it is one DICOM series, and a folder of folders holds one in each. A scan of
    several channels is one file that holds them all, or one for each, with their numbers as nnU-Net writes them
    (``CASE_0000``, ``CASE_0001``, …) or their names (``CASE_T1``, ``CASE_T2``, …); the path is a folder of such scans,
    a file with all channels, or that of the first channel.

    Args:
        path: file of a scan, folder of volumes or pictures, folder of a DICOM series, or folder of such folders.
        series: UID, number or a part of the description of the DICOM series to take from a folder with several; empty:
            the one with most slices.
        channels: names of the channels where a scan has several.

    Raises:
        ValueError: if a channel of a scan is missing, a folder of DICOM files has no such series, or two files differ
            in nothing but their ending.
        FileNotFoundError: if the path does not exist or holds no scan: inference without a scan is an error, not a
            success without output.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "a.nii.gz").touch()
        ...     [case["case"] for case in input_cases(folder)]
        ['a']
    """
    if not str(path):
        raise FileNotFoundError("No scan is given; set `input` to a scan, a folder of scans or a DICOM folder.")
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(f"There is no scan at {source}.")
    if len(channels) > 1:
        return _of_channels(source, channels)
    if source.is_file():
        return [_case(source)]
    files = sorted(item for item in source.iterdir() if item.is_file() and not item.name.startswith("."))
    volumes = [item for item in files if item.name.lower().endswith(_VOLUMES)]
    if volumes:
        return _unique([_case(item) for item in volumes])
    if any(item.name.upper() not in _INDEX for item in files):
        return [_series(source, series)]
    folders = sorted(item for item in source.iterdir() if item.is_dir() and not item.name.startswith("."))
    if folders:
        return [_series(item, series) for item in folders]
    raise FileNotFoundError(
        f"The folder {source} holds no scan: neither volumes or pictures ({', '.join(_VOLUMES)}) nor DICOM files."
    )


def _of_channels(source: Path, channels: Sequence[str]) -> list[dict[str, Any]]:
    folder = source.parent if source.is_file() else source
    files = sorted(item for item in folder.iterdir() if item.is_file() and not item.name.startswith("."))
    stems = {_case(item)["case"].casefold(): item for item in files if item.name.lower().endswith(_VOLUMES)}
    suffixes = [[f"_{index:04d}", f"_{name.casefold()}"] for index, name in enumerate(channels)]
    cases = []
    for stem, file in stems.items():
        kind = next((kind for kind in (0, 1) if stem.endswith(suffixes[0][kind])), None)
        if kind is None or (source.is_file() and file != source):
            continue
        start = stem.removesuffix(suffixes[0][kind])
        found = [stems.get(start + suffix[kind]) for suffix in suffixes]
        if None in found:
            missing = found.index(None)
            raise ValueError(
                f"{file} has no channel {channels[missing]} beside it; name its file as the first one with "
                f"{suffixes[missing][kind]}."
            )
        cases.append({"case": _case(file)["case"][: len(start)], "image": [str(item.absolute()) for item in found]})
    if not cases:
        files = [file for file in stems.values() if not source.is_file() or file == source]
        cases = [_case(file) for file in files if _count(file) == len(channels)]
    if not cases:
        raise FileNotFoundError(
            f"{source} holds no scan of the {len(channels)} channels {', '.join(channels)}; give one file that holds "
            f"them all, or name the files of a scan CASE_0000, CASE_0001, … or CASE_{channels[0]}, "
            f"CASE_{channels[1]}, …"
        )
    return _unique(cases)


def _count(file: Path) -> int:
    try:
        return read_header(file).channels
    except ValueError:
        return 0


def _unique(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    named: dict[str, Any] = {}
    for case in cases:
        other = named.setdefault(case["case"].casefold(), case["image"])
        if other != case["image"]:
            raise ValueError(f"{other} and {case['image']} would have one output, {case['case']}; rename one of them.")
    return cases


def _series(folder: Path, series: str) -> dict[str, str]:
    return {"case": folder.name, "image": str(series_path(folder, series or None).absolute())}


def _case(path: Path) -> dict[str, str]:
    ending = next(
        (ending for ending in sorted(_VOLUMES, key=len, reverse=True) if path.name.lower().endswith(ending)), ""
    )
    return {"case": path.name.removesuffix(path.name[len(path.name) - len(ending) :]), "image": str(path.absolute())}
