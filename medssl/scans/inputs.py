"""The scans at a path that a user gives."""

import os
from pathlib import Path

from medssl.scans.dicom import series_path
from medssl.scans.pictures import PICTURE_ENDINGS
from medssl.scans.readers import ITK_ENDINGS, NIFTI_ENDINGS

_INDEX = ("DICOMDIR", "DIRFILE")
_VOLUMES = (*NIFTI_ENDINGS, *ITK_ENDINGS, *PICTURE_ENDINGS)


def input_cases(path: str | os.PathLike[str], series: str = "") -> list[dict[str, str]]:
    """List every scan at a path as ``{"case", "image"}``.

    A file is one scan. A folder of volumes (NIfTI, NRRD, MetaImage) or pictures (PNG, TIFF, BMP) holds one scan per
    file; any other folder with files in it is one DICOM series, and a folder of folders holds one in each.

    Args:
        path: file of a scan, folder of volumes or pictures, folder of a DICOM series, or folder of such folders.
        series: UID, number or a part of the description of the DICOM series to take from a folder with several; empty:
            the one with most slices.

    Raises:
        ValueError: if a folder of DICOM files has no such series, or two files differ in nothing but their ending.
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


def _unique(cases: list[dict[str, str]]) -> list[dict[str, str]]:
    named: dict[str, str] = {}
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
