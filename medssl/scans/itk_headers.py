"""Headers that SimpleITK reads, without those that end the process."""

import os
import re

import SimpleITK as sitk

_META_IMAGE = (".mha", ".mhd")
# ITK holds the axes of a MetaImage in arrays of this length, and does not look before it writes.
_MOST_AXES = 10
_HEADER_BYTES = 1 << 16


def itk_header(path: str | os.PathLike[str]) -> sitk.ImageFileReader:
    """Return SimpleITK's reader of a file with its header read.

    Args:
        path: file, such as one slice of a DICOM series.

    Raises:
        RuntimeError: if SimpleITK cannot read the header.
        ValueError: if a MetaImage promises more axes than ITK survives.
    """
    if str(path).lower().endswith(_META_IMAGE):
        _require_plausible_axes(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _require_plausible_axes(path: str | os.PathLike[str]) -> None:
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
    for value in re.findall(rb"NDims[^\S\n]*=?[^\S\n]*([^\n]*)", header.split(b"ElementDataFile", 1)[0]):
        text = value.strip().decode("latin-1")
        if not re.fullmatch(r"\d{1,2}", text) or not 1 <= int(text) <= _MOST_AXES:
            raise ValueError(f"{path} says NDims = {text[:40]!r}, which is no number of axes; export the scan again.")
