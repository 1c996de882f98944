"""What is known of every scan and mask after reading it once; kept until the file changes."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import nrrd
import numpy as np
import SimpleITK as sitk

from medssl.files import write_json
from medssl.scans.channel_voxels import WholeChannel, whole_channels
from medssl.scans.channels import ImagePath, grid_file, grid_problems, image_channels, image_files
from medssl.scans.contents import content_hash, image_problems, label_counts, whole_number_problems
from medssl.scans.dicom import dicom_series
from medssl.scans.geometry import Problem, pair_problems
from medssl.scans.headers import VolumeHeader, read_header
from medssl.scans.integrity import has_error, read_whole, without_path
from medssl.scans.structure_labels import whole_structures
from medssl.scans.structures import structure_names, structure_path
from medssl.workflows.segment_memory import require_memory

# Raised when the same file would give other facts.
VERSION = 1
_MODALITY = "0008|0060"
# HU of air lie far below 0, and no magnitude of MR does.
_HIGHEST_AIR = -100.0
# Of a label map of one byte, which training takes, and of two bytes, which segmentations may have.
MOST_STRUCTURES, _LARGEST_VALUE = 255, 65535
Facts = TypeVar("Facts", "ScanFacts", "MaskFacts")
# A scan: its file or folder, or its channels as in a data list.
Scan = Path | list[str]


@dataclass(frozen=True)
class ScanFacts:
    """What a scan is.

    Attributes:
        content: hash of the voxels of all channels.
        shape: voxels along right, anterior and superior.
        spacing: mm along right, anterior and superior.
        low, high: smallest and largest value of the first channel.
        modality: CT or MR: what DICOM says, else by the values.
        channels: how many it has.
        problem: why it cannot be used; empty if it can.
        warnings: what may be wrong with it.
    """

    content: str = ""
    shape: Sequence[int] = ()
    spacing: Sequence[float] = ()
    low: float = 0.0
    high: float = 0.0
    modality: str = ""
    channels: int = 1
    problem: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def extent(self) -> tuple[float, ...]:
        """Size in mm along right, anterior and superior."""
        return tuple(size * length for size, length in zip(self.shape, self.spacing, strict=True))


@dataclass(frozen=True)
class MaskFacts:
    """What a mask is.

    Attributes:
        content: hash of its voxels.
        counts: voxels of every value but 0, as text, as JSON has it.
        segments: name of every value, as text, of a segmentation of 3D Slicer, a DICOM SEG or an RTSTRUCT; empty
            elsewhere.
        problem: why it cannot be used; empty if it can.
        warnings: what may be wrong with it.
    """

    content: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    segments: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    warnings: list[str] = field(default_factory=list)


def scan_facts(scan: Scan, kept: Path) -> ScanFacts:
    """Read a scan to its end, or find what was kept of it.

    Args:
        scan: file, folder of a DICOM series, or channels.
        kept: JSON file of the facts.
    """
    missing = [file for file in image_files(scan) if not Path(file).exists()]
    if missing:
        which = "it" if len(image_files(scan)) == 1 else Path(missing[0]).name
        return ScanFacts(problem=f"{which} does not exist; correct the path.")
    return _kept(kept, fingerprint(scan), ScanFacts, lambda: _read_scan(scan))


def mask_facts(path: Path, scan: Scan, kept: Path, names: Sequence[str] = ()) -> MaskFacts:
    """Read a mask to its end and compare it with its scan, or find what was kept of it.

    Args:
        path: of the mask.
        scan: that can be used.
        kept: JSON file of the facts.
        names: the structures to take from a DICOM SEG or RTSTRUCT; empty: all.
    """
    if not path.exists():
        return MaskFacts(problem="it does not exist; correct the path.")
    if structure_path(path) is None:
        return _kept(kept, fingerprint(path) + fingerprint(scan), MaskFacts, lambda: _read_mask(path, scan))
    key = f"{fingerprint(path)}{fingerprint(scan)}{sorted(names)}"
    return _kept(kept, key, MaskFacts, lambda: _read_structures(path, scan, names))


def are_known(scan: Scan, kept: Path) -> bool:
    """Say whether the facts of a scan are kept, so that it need not be read."""
    try:
        return _read_kept(kept, fingerprint(scan)) is not None
    except FileNotFoundError:
        return False


def fingerprint(scan: ImagePath | list[str]) -> str:
    """Return a hash of the names, sizes and times of change of the files of a scan or mask, and of those of folders."""
    files = [file for path in map(Path, image_files(scan)) for file in _files(path)]
    states = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    states += [(str(channel), 0, 0) for channel in image_channels(scan) if channel.count > 1]
    return hashlib.sha256(json.dumps([VERSION, states]).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]


def _kept(kept: Path, key: str, kind: type[Facts], read: Callable[[], Facts]) -> Facts:
    found = _read_kept(kept, key)
    if found is not None:
        return kind(**found)
    facts = read()
    # What failed is tried again: the memory may have been short.
    if not facts.problem:
        write_json(kept, {"key": key, "facts": asdict(facts)})
    return facts


def _read_kept(kept: Path, key: str) -> dict[str, Any] | None:
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
        return content["facts"] if content["key"] == key else None
    except (OSError, ValueError, KeyError):
        return None


def _read_scan(scan: Scan) -> ScanFacts:
    path = grid_file(scan)
    try:
        require_memory(path, read_header(path).shape[:3], len(image_channels(scan)))
    except (ValueError, MemoryError) as error:
        return ScanFacts(problem=without_path(error, path))
    channels = whole_channels(scan)
    first = next(channels)
    whole = first.volume
    if whole.voxels is None:
        return ScanFacts(problem=_first_error(whole.problems, path))
    low, high = float(whole.voxels.min()), float(whole.voxels.max())
    modality = _modality(path, low)
    problems, contents = [*whole.problems, *image_problems(whole.voxels, modality)], [content_hash(whole.voxels)]
    for other in channels:
        problems += _channel_problems(whole.header, other)
        contents += [] if other.volume.voxels is None else [content_hash(other.volume.voxels)]
    shape, spacing = _turned(whole.header)
    return ScanFacts(
        content=" ".join(contents),
        shape=shape,
        spacing=spacing,
        low=low,
        high=high,
        modality=modality,
        channels=len(image_channels(scan)),
        problem=_first_error(problems, path),
        warnings=[problem.text for problem in problems if problem.severity == "warning"],
    )


def _channel_problems(first: VolumeHeader, other: WholeChannel) -> list[Problem]:
    """Return the errors of a channel behind the first one, which name it."""
    header, voxels = other.volume.header, other.volume.voxels
    problems = list(other.volume.problems)
    if voxels is not None:
        # Values of air say nothing about a second channel.
        problems = [*grid_problems(first, header), *image_problems(voxels, "MR")]
    name = Path(other.name).name
    return [Problem("error", f"{name}: {found.text}") for found in problems if found.severity == "error"]


def _read_mask(path: Path, scan: Scan) -> MaskFacts:
    whole = read_whole(path)
    if whole.voxels is None:
        return MaskFacts(problem=_first_error(whole.problems, path))
    problems = [*pair_problems(read_header(grid_file(scan)), whole.header), *whole_number_problems(whole.voxels)]
    if has_error(problems):
        return MaskFacts(problem=_first_error(problems, path))
    counts = {str(value): count for value, count in label_counts(whole.voxels).items() if value != 0}
    return MaskFacts(content_hash(whole.voxels), counts, _segments(path), _value_problem(list(map(int, counts))))


def _value_problem(values: list[int]) -> str:
    """Return why values are not those of structures, or nothing."""
    if not values:
        return "the mask is empty; its scan is segmented like the others."
    if len(values) > MOST_STRUCTURES:
        return f"it holds {len(values)} different values, as a scan does; a mask has one for each structure."
    wrong = [value for value in values if not 0 < value <= _LARGEST_VALUE]
    return f"it holds the value {wrong[0]}; structures have values from 1 to {_LARGEST_VALUE}." if wrong else ""


def _read_structures(path: Path, scan: Scan, names: Sequence[str]) -> MaskFacts:
    try:
        own = structure_names(path)
    except ValueError as error:
        return MaskFacts(problem=without_path(error, path))
    wanted = {name.casefold() for name in names or own}
    taken = dict(enumerate((name for name in own if name.casefold() in wanted), start=1))
    if not taken:
        return MaskFacts(problem=f"it has {', '.join(own)}, none of --label-names; add the names that you want.")
    whole = whole_structures(path, grid_file(scan), taken)
    if whole.voxels is None:
        return MaskFacts(problem=_first_error(whole.problems, path))
    counts = {str(value): count for value, count in label_counts(whole.voxels).items() if value != 0}
    problem = "" if counts else "the mask is empty; its scan is segmented like the others."
    segments = {str(value): name for value, name in taken.items()}
    warnings = [note.text for note in whole.problems]
    return MaskFacts(content_hash(whole.voxels), counts, segments, problem, warnings)


def _modality(path: Path, low: float) -> str:
    if path.is_dir():
        reader = sitk.ImageFileReader()
        reader.SetFileName(dicom_series(path).files[0])
        reader.ReadImageInformation()
        if reader.HasMetaDataKey(_MODALITY) and reader.GetMetaData(_MODALITY).strip() in ("CT", "MR"):
            return reader.GetMetaData(_MODALITY).strip()
    return "CT" if low <= _HIGHEST_AIR else "MR"


def _segments(path: Path) -> dict[str, str]:
    """Return the names of the values of a segmentation of 3D Slicer."""
    if not path.name.lower().endswith(".nrrd"):
        return {}
    header = nrrd.read_header(str(path))
    numbers = [key[len("Segment") : -len("_LabelValue")] for key in header if key.endswith("_LabelValue")]
    return {
        str(int(header[f"Segment{number}_LabelValue"])): header.get(f"Segment{number}_Name", f"segment {number}")
        for number in numbers
    }


def _turned(header: VolumeHeader) -> tuple[list[int], list[float]]:
    order = np.argsort(nib.io_orientation(header.affine)[:, 0])
    return [int(header.grid[axis]) for axis in order], [float(header.spacing[axis]) for axis in order]


def _first_error(problems: list, path: Path) -> str:
    found = next((problem.text for problem in problems if problem.severity == "error"), "")
    return without_path(found, path)
