"""From the path a user gives to the scans behind it."""

import os
from pathlib import Path

from medssl.scans.pictures import PICTURE_ENDINGS
from medssl.scans.readers import ITK_ENDINGS, NIFTI_ENDINGS

_VOLUMES = (*NIFTI_ENDINGS, *ITK_ENDINGS, *PICTURE_ENDINGS)


def input_cases(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Return one ``{"case", "image"}`` for every scan at a path.

    A file is one scan. A folder of volumes (NIfTI, NRRD, MetaImage) or pictures (PNG, TIFF, BMP) is one scan a file;
    any other folder with files in it is one DICOM series.

    Args:
        path: a scan's file, a folder of volumes or pictures, or the folder of a DICOM series.

    Raises:
        FileNotFoundError: if nothing is there, or the folder holds no scan: inference without a scan is an error, not
            a success with nothing to show for it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "a.nii.gz").touch()
        ...     [case["case"] for case in input_cases(folder)]
        ['a']
    """
    if not str(path):
        raise FileNotFoundError("No scan is given; set `input` to a scan's file, a folder of scans or a DICOM folder.")
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
