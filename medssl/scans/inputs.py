"""The scans at a path that a user gives."""

import os
from pathlib import Path

from medssl.scans.pictures import PICTURE_ENDINGS
from medssl.scans.readers import ITK_ENDINGS, NIFTI_ENDINGS

_VOLUMES = (*NIFTI_ENDINGS, *ITK_ENDINGS, *PICTURE_ENDINGS)


def input_cases(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """List every scan at a path as ``{"case", "image"}``.

    A file is one scan. A folder of volumes (NIfTI, NRRD, MetaImage) or pictures (PNG, TIFF, BMP) holds one scan per
    file; any other folder with files in it is one DICOM series.

    Args:
        path: file of a scan, folder of volumes or pictures, or folder of a DICOM series.

    Raises:
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
        return [_case(item) for item in volumes]
    if files:
        return [_case(source)]
    raise FileNotFoundError(
        f"The folder {source} holds no scan: neither volumes or pictures ({', '.join(_VOLUMES)}) nor DICOM files."
    )


def _case(path: Path) -> dict[str, str]:
    ending = next(
        (ending for ending in sorted(_VOLUMES, key=len, reverse=True) if path.name.lower().endswith(ending)), ""
    )
    return {"case": path.name.removesuffix(path.name[len(path.name) - len(ending) :]), "image": str(path.absolute())}
