"""The DICOM files below a folder, sorted into series; pydicom reads their headers."""

import mmap
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from medssl.scans.deflated import inflated_bytes, is_deflated
from medssl.scans.dicom_lengths import header_within
from medssl.scans.memory import ScanTooLargeError, require_memory

_TAGS = tuple(
    pydicom.tag.Tag(name)
    for name in (
        "SOPClassUID",
        "Modality",
        "ImageType",
        "SeriesInstanceUID",
        "SeriesNumber",
        "SeriesDescription",
        "AcquisitionNumber",
        "TemporalPositionIdentifier",
        "EchoNumbers",
        "TriggerTime",
        "Rows",
        "Columns",
        "SamplesPerPixel",
        "NumberOfFrames",
        "PixelSpacing",
        "ImagerPixelSpacing",
        "SliceThickness",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "RescaleSlope",
        "RescaleIntercept",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
    )
)
# Pixels in a byte, more than any codec of DICOM packs into it beside the header of a slice.
_MOST_PACKED = 10_000
# Bytes of a deflated data set to which a byte of the file may inflate, if there are many.
_MOST_DEFLATED, _MUCH = 100, 1 << 28
_INDEX = "1.2.840.10008.1.3.10"
# Objects with rows and columns that are not scans.
_NOT_SCANS = ("SEG", "RTDOSE", "RTSTRUCT", "SR", "PR", "KO", "REG", "OT", "DOC")
# What tells the volumes of one series apart: acquisitions, time points, echoes, phases.
_VOLUMES = ("AcquisitionNumber", "TemporalPositionIdentifier", "EchoNumbers", "TriggerTime")


@dataclass(frozen=True, eq=False)
class DicomSlice:
    """What the header says of one slice.

    Attributes:
        file: the file.
        frame: index of the frame in a multi-frame file, else 0.
        size: columns and rows.
        spacing: mm between columns and between rows.
        position: of the first voxel, in mm of the patient (LPS); ``None`` if the header has none.
        rows: unit vectors along a row and along a column, shape ``(2, 3)``; ``None`` if the header has none.
        thickness: in mm, 0 if unknown.
        scaling: slope and intercept.
        channels: numbers in a pixel.
        volume: values of the tags that tell the volumes of a series apart.
    """

    file: str
    frame: int
    size: tuple[int, int]
    spacing: tuple[float, float]
    position: np.ndarray | None
    rows: np.ndarray | None
    thickness: float
    scaling: tuple[float, float]
    channels: int
    volume: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FoundSeries:
    """The slices of one series, in no order.

    Attributes:
        uid: its SeriesInstanceUID.
        number: its number on the scanner, as text.
        description: its name on the scanner.
        slices: of the series.
    """

    uid: str
    number: str
    description: str
    slices: list[DicomSlice] = field(default_factory=list)

    def matches(self, choice: str) -> bool:
        """Tell whether a choice is its UID, its number or a part of its description."""
        named = choice.casefold() in self.description.casefold()
        return choice in (self.uid, self.number) or (named and not choice.isdecimal())

    def __str__(self) -> str:
        number, name = (f" {text}" if text else "" for text in (self.number, self.description))
        return f"series{number}{name} ({len(self.slices)} slices, {self.uid})"


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a folder or a file that starts as DICOM does.

    Example:
        >>> is_dicom("."), is_dicom("nowhere")
        (True, False)
    """
    path = Path(path)
    if not path.is_file():
        return path.is_dir()
    with path.open("rb") as handle:
        start = handle.read(132)
    # Old archives leave out the preamble: then the file starts with group 8, little endian.
    return start[128:] == b"DICM" or (start[:2] == b"\10\0" and start[3:4] == b"\0")


def find_series(path: str | os.PathLike[str]) -> tuple[list[FoundSeries], list[str]]:
    """Find the series below a folder, most slices first, and say what was left aside.

    Reports, structures, segmentations, the index ``DICOMDIR`` and, beside other series, scouts (localizers) are left
    aside, and so are files of other kinds.

    Args:
        path: folder, searched with all below it; or a DICOM file, which stands for its series in its own folder.

    Raises:
        ValueError: if a DICOM file is damaged; names it.
    """
    path = Path(path)
    found: dict[tuple[str, bool], FoundSeries] = {}
    aside: Counter[str] = Counter()
    wanted = None
    if path.is_file():
        _, wanted, _, frames = _described(path)
        files: Sequence[Path] = [path] if len(frames) > 1 else _files(path.parent, False)
    else:
        files = _files(path, True)
    for file in files:
        kind, uid, names, slices = _described(file)
        if wanted is not None and uid != wanted:
            continue
        if kind not in ("slice", "scout"):
            aside[kind] += 1
            continue
        found.setdefault((uid, kind == "scout"), FoundSeries(uid, *names)).slices.extend(slices)
    scouts = [series for (_, is_scout), series in found.items() if is_scout]
    series = [series for (_, is_scout), series in found.items() if not is_scout]
    if series:
        aside["scout"] += sum(len(scout.slices) for scout in scouts)
    ordered = sorted(series or scouts, key=lambda one: (-len(one.slices), one.number.zfill(9), one.uid))
    return ordered, [f"{count} {kind}{'s' * (count > 1)}" for kind, count in aside.items() if count]


def volumes_of(series: FoundSeries) -> list[list[DicomSlice]]:
    """Split a series into its volumes (acquisitions, time points, echoes) if positions repeat; most slices first."""
    slices = series.slices
    if not _repeats(slices):
        return [slices]
    for place in range(len(_VOLUMES)):
        groups: dict[str, list[DicomSlice]] = {}
        for one in slices:
            groups.setdefault(one.volume[place], []).append(one)
        if len(groups) > 1 and not any(map(_repeats, groups.values())):
            return sorted(groups.values(), key=len, reverse=True)
    return [slices]


def _repeats(slices: Sequence[DicomSlice]) -> bool:
    places = [tuple(np.round(one.position, 2)) for one in slices if one.position is not None]
    return len(set(places)) < len(places)


def _files(folder: Path, deep: bool) -> list[Path]:
    items = folder.rglob("*") if deep else folder.iterdir()
    # Hidden folders hold what a killed writer left.
    shown = (item for item in items if not any(part.startswith(".") for part in item.relative_to(folder).parts))
    files = sorted(item for item in shown if item.is_file())
    found = [file for file in files if is_dicom(file)]
    # A slice that was cut to nothing has still the name of a slice.
    patterns = {(file.parent, _pattern(file)) for file in found}
    for file in set(files) - set(found):
        if (file.parent, _pattern(file)) in patterns:
            raise ValueError(
                f"{file} is damaged: it is named as the DICOM files beside it are; copy it again, or remove it."
            )
    return found


def _pattern(file: Path) -> str:
    return re.sub(r"\d+", "#", file.name.lower())


def _described(file: Path) -> tuple[str, str, tuple[str, str], list[DicomSlice]]:
    """Return the kind of a file, its series' UID, number and description, and its slices."""
    try:
        # A file would allocate what a damaged length promises before it is read; a map of it ends where the file does.
        with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
            header = _header(file, content)
            kind, uid = _kind(file, header), str(header.get("SeriesInstanceUID", ""))
            names = (str(header.get("SeriesNumber") or ""), str(header.get("SeriesDescription") or ""))
            return kind, uid, names, list(_slices(file, header)) if kind in ("slice", "scout") else []
    except (MemoryError, ScanTooLargeError):
        raise
    except Exception as error:
        # pydicom decodes a value when it is asked for, and its errors share no base class.
        raise ValueError(f"{file} is a damaged DICOM file ({error}); copy or export it again, or remove it.") from error


def _header(file: Path, content: mmap.mmap) -> pydicom.Dataset:
    if not is_deflated(content):
        return header_within(content, _TAGS)
    most = max(_MUCH, _MOST_DEFLATED * len(content))
    if (inflated := inflated_bytes(content, most)) > most:
        raise ValueError(f"it inflates to more than {most >> 20} MiB, over {_MOST_DEFLATED} times its size")
    require_memory(file, inflated)
    return pydicom.dcmread(content, force=True, stop_before_pixels=True, specific_tags=list(_TAGS))


def _kind(file: Path, header: pydicom.Dataset) -> str:
    sop = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
    if sop == _INDEX or file.name.upper() in ("DICOMDIR", "DIRFILE"):
        return "index of the disc"
    if "Rows" not in header and (not sop or "Image Storage" in pydicom.uid.UID(sop).name):
        raise ValueError("it has no size")
    if header.get("Modality") in _NOT_SCANS or "Rows" not in header:
        return f"file of modality {header.get('Modality', '?')}"
    return "scout" if "LOCALIZER" in (header.get("ImageType") or ()) else "slice"


def _slices(file: Path, header: pydicom.Dataset) -> Iterator[DicomSlice]:
    count, size = int(header.get("NumberOfFrames") or 1), (int(header.Columns), int(header.Rows))
    syntax = header.file_meta.get("TransferSyntaxUID")
    is_packed = syntax is not None and (syntax.is_encapsulated or syntax.is_deflated)
    most = file.stat().st_size * (_MOST_PACKED if is_packed else 1)
    # Before anything is allocated for what a damaged number promises.
    if min(count, *size) < 1 or count * size[0] * size[1] > most:
        raise ValueError(f"its header says {count} frames of {size[0]} x {size[1]}, which it cannot hold")
    yield from frame_slices(str(file), header, count)


def frame_slices(file: str, header: pydicom.Dataset, count: int) -> Iterator[DicomSlice]:
    """Yield what the header of a file says of each of its frames.

    Args:
        file: its name.
        header: its dataset.
        count: number of frames.
    """
    size = (int(header.Columns), int(header.Rows))
    shared = _group(header.get("SharedFunctionalGroupsSequence"))
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    for index in range(count):
        layers = [header, *shared, *(_group(frames[index : index + 1]) if frames else [])]
        yield _slice(file, index, size, layers)


def _group(sequence: Any) -> list[pydicom.Dataset]:
    """Return the items of the sequences in a functional group, which hold its tags."""
    return [item for group in sequence or [] for element in group if element.VR == "SQ" for item in element.value]


def _slice(file: str, frame: int, size: tuple[int, int], layers: Sequence[pydicom.Dataset]) -> DicomSlice:
    def tag(name: str, default: Any = None) -> Any:
        values = [layer[name].value for layer in layers if name in layer]
        return default if not values or values[-1] in (None, "") else values[-1]

    rows, columns = tag("PixelSpacing") or tag("ImagerPixelSpacing") or (1.0, 1.0)
    position, axes = tag("ImagePositionPatient"), tag("ImageOrientationPatient")
    return DicomSlice(
        file,
        frame,
        size,
        (float(columns), float(rows)),
        None if position is None else _finite(position, 3, "ImagePositionPatient"),
        None if axes is None else _finite(axes, 6, "ImageOrientationPatient").reshape(2, 3),
        float(tag("SliceThickness", 0)),
        (float(tag("RescaleSlope", 1)), float(tag("RescaleIntercept", 0))),
        int(tag("SamplesPerPixel", 1)),
        tuple(str(tag(name, "")) for name in _VOLUMES),
    )


def _finite(values: Any, count: int, name: str) -> np.ndarray:
    numbers = np.array(values, dtype=float)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} needs {count} finite numbers")
    return numbers
