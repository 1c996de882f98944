"""DICOM SEG and RTSTRUCT files: which structures they name, and which scan they belong to."""

import json
import logging
import mmap
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pydicom

from medssl.scans.dicom_files import is_dicom
from medssl.scans.readers import is_series

_SEG, _LABEL_MAP, CONTOURS = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
    "1.2.840.10008.5.1.4.1.1.481.3",
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class StructureFile:
    """A DICOM SEG or RTSTRUCT file.

    Attributes:
        path: of the file.
        data: what it holds.
        names: of its structures, by their number in the file.
        series: SeriesInstanceUID of every scan that it says it belongs to; empty if it names none.
        frame_of_reference: FrameOfReferenceUID of its coordinates; empty if it has none.
    """

    path: Path
    data: pydicom.Dataset
    names: dict[int, str]
    series: frozenset[str]
    frame_of_reference: str


def structure_path(path: str | os.PathLike[str]) -> Path | None:
    """Return the DICOM SEG or RTSTRUCT file that a path stands for: itself, or the only one in a folder.

    Returns:
        The file; ``None`` if the path is something else, or a folder that holds a scan.

    Raises:
        ValueError: if a folder holds several such files.

    Example:
        >>> structure_path("label.nii.gz") is None
        True
    """
    path = Path(path)
    if not path.exists() or not is_series(path):
        return None
    files = _dicom_files(path) if path.is_dir() else [path]
    found = list(takewhile(lambda file: _kind(file) in (_SEG, _LABEL_MAP, CONTOURS), files))
    if not found or len(found) < len(files):
        return None
    if len(found) > 1:
        listed = ", ".join(file.name for file in found[:5])
        raise ValueError(f"{path} holds {len(found)} DICOM segmentations ({listed}); give the file of one.")
    return found[0]


def _dicom_files(folder: Path) -> list[Path]:
    # Hidden folders hold what a killed writer left.
    shown = (item for item in folder.rglob("*") if not any(p.startswith(".") for p in item.relative_to(folder).parts))
    return sorted(item for item in shown if item.is_file() and is_dicom(item))


def structure_names(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the structures in a DICOM SEG or RTSTRUCT file, each once.

    Args:
        path: the file, or a folder that holds nothing else.

    Raises:
        ValueError: if the file is damaged; names it.
    """
    return list(dict.fromkeys(open_structures(path).names.values()))


def shared_structures(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return the names of the structures that all label files have; none if none of them is a DICOM SEG or RTSTRUCT.

    What only some of them have is said in the log.

    Args:
        paths: of labels.

    Raises:
        ValueError: if only some labels name their structures, or they share none.
    """
    paths = list(paths)
    listed = {path: structure_names(path) for path in paths if structure_path(path) is not None}
    if not listed:
        return []
    unnamed = next((path for path in paths if path not in listed), None)
    if unnamed is not None:
        raise ValueError(
            f"{next(iter(listed))} names its structures and {unnamed} does not; say what the values are, as in "
            '--label-names "1=liver,2=spleen".'
        )
    names = list(dict.fromkeys(name for names in listed.values() for name in names))
    shared = [name for name in names if all(name in names for names in listed.values())]
    if not shared:
        raise ValueError(f"The labels share no structure; they have {', '.join(names)}. Choose some by --label-names.")
    if len(shared) < len(names):
        others = ", ".join(name for name in names if name not in shared)
        logger.warning("Structures that only some labels have are left out: %s; --label-names chooses.", others)
    return shared


def names_as_text(labels: Mapping[int, str]) -> str:
    """Return names of label values as text, which a batch can hold.

    Example:
        >>> names_from_text(names_as_text({0: "background", 1: "liver"}))
        {0: 'background', 1: 'liver'}
    """
    return json.dumps({str(value): name for value, name in labels.items()})


def names_from_text(text: str) -> dict[int, str]:
    """Return the names of label values in a text from `names_as_text`."""
    return {int(value): name for value, name in json.loads(text).items()}


def _kind(file: Path) -> str:
    header = read_dicom_header(file, ["SOPClassUID"])
    return str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")


def read_dicom_header(file: Path, tags: Sequence[str] | None = None) -> pydicom.Dataset:
    """Return some tags of a DICOM file without its pixels; ``None``: the whole file.

    Raises:
        ValueError: if it is damaged; names it.
    """
    try:
        # A file would allocate what a damaged length promises before it is read; a map of it ends where the file does.
        with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
            partly = {"stop_before_pixels": True, "specific_tags": list(tags)} if tags else {}
            return pydicom.dcmread(content, force=True, **partly)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{file} is a damaged DICOM file ({error}); copy or export it again, or remove it.") from error


def open_structures(path: str | os.PathLike[str]) -> StructureFile:
    """Read a DICOM SEG or RTSTRUCT file without decoding what it shows.

    Args:
        path: the file, or a folder that holds nothing else.

    Raises:
        ValueError: if it is something else or damaged; names it.
    """
    file = structure_path(path)
    if file is None:
        raise ValueError(f"{path} is neither a DICOM SEG nor an RTSTRUCT file.")
    data = read_dicom_header(file)
    try:
        return _described(file, data)
    except Exception as error:
        raise ValueError(f"{file} is a damaged DICOM file ({error}); export it again.") from error


def _described(file: Path, data: pydicom.Dataset) -> StructureFile:
    if data.SOPClassUID == CONTOURS:
        names = {int(roi.ROINumber): str(roi.get("ROIName", "")) for roi in data.get("StructureSetROISequence", [])}
        frames = data.get("ReferencedFrameOfReferenceSequence") or []
        series = [
            one.SeriesInstanceUID
            for frame in frames
            for study in frame.get("RTReferencedStudySequence") or []
            for one in study.get("RTReferencedSeriesSequence") or []
        ]
        own = {str(roi.get("ReferencedFrameOfReferenceUID", "")) for roi in data.get("StructureSetROISequence", [])}
        reference = next(iter(own)) if len(own) == 1 else ""
    else:
        names = {int(one.SegmentNumber): str(one.get("SegmentLabel", "")) for one in data.SegmentSequence}
        # A label map may describe its background.
        names = {number: name for number, name in names.items() if number}
        series = [one.SeriesInstanceUID for one in data.get("ReferencedSeriesSequence") or []]
        reference = str(data.get("FrameOfReferenceUID", ""))
    return StructureFile(file, data, names, frozenset(map(str, series)), reference)
