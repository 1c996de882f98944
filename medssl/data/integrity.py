"""Whether every scan and label of a data list can be trusted."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medssl.data.contents import channel_problems, content_hash, image_problems, label_problems
from medssl.data.datalist import SECTIONS, Datalist, read_datalist
from medssl.data.geometry import Problem, header_problems, pair_problems, patch_problems
from medssl.data.headers import VolumeHeader, read_header
from medssl.data.labels import read_label
from medssl.data.readers import is_nifti, read_volume, scaled_nifti
from medssl.data.streams import require_whole, whole_nifti

_HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class Finding:
    """What is wrong with a case of a data list.

    Attributes:
        case: its id.
        section: of the list.
        severity: an error must be mended before training; a warning may be as it should.
        file: that has the problem.
        problem: one sentence: what is wrong and what to do.
    """

    case: str
    section: str
    severity: Literal["error", "warning"]
    file: str
    problem: str


@dataclass(frozen=True, eq=False)
class _Volume:
    """A file that passed or failed: its problems, and what could be read of it."""

    problems: list[Problem]
    header: VolumeHeader | None = None
    voxels: np.ndarray | None = None


def check_datalist(
    path: str | os.PathLike[str],
    patch_size: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    in_channels: int | None = None,
) -> list[Finding]:
    """Return all that is wrong with the cases of a data list, in the order of the list; nothing if all is well.

    Every file is read to its end. Tested are its stream, header, geometry and voxels, the label against its image and
    the declared values, and whether the same voxels are listed twice: across training, validation and test that is a
    leak.

    Args:
        path: the data list.
        patch_size: voxels of a training patch, axes in RAS; smaller volumes are warned of.
        spacing: mm to which volumes are resampled before patches are cut; ``None``: they are not.
        in_channels: of the network that is to see them; ``None``: not compared.

    Raises:
        ValueError: if the list itself is wrong; see `read_datalist`.
    """
    datalist = read_datalist(path)
    findings: list[Finding] = []
    seen: dict[str, tuple[str, str]] = {}
    for section in SECTIONS:
        for entry in datalist.sections[section]:
            for file, problem in _case_problems(entry, section, datalist, seen, patch_size, spacing, in_channels):
                findings.append(Finding(entry["case"], section, problem.severity, file, problem.text))
    return findings


def verified_header(path: str | os.PathLike[str], spatial_dims: int | None = 3) -> VolumeHeader:
    """Return the header of a volume whose stream is whole and whose geometry has no error.

    Args:
        path: NIfTI, NRRD or MetaImage file, or folder of a DICOM series; in 2D also a picture.
        spatial_dims: axes in space that it must have, 2 or 3; ``None``: either.

    Raises:
        ValueError: if it is damaged, or no volume of single numbers in a sound place; the message names the file.
    """
    require_whole(path)
    return sound_header(path, spatial_dims)


def sound_header(path: str | os.PathLike[str], spatial_dims: int | None = 3) -> VolumeHeader:
    """Return the header of a volume whose geometry has no error; whether its stream is whole is not asked.

    Args:
        path: NIfTI, NRRD or MetaImage file, or folder of a DICOM series; in 2D also a picture.
        spatial_dims: axes in space that it must have, 2 or 3; ``None``: either.

    Raises:
        ValueError: if it is no volume of single numbers in a sound place; the message names the file.
    """
    header = read_header(path)
    for problem in header_problems(header, spatial_dims):
        if problem.severity == "error":
            raise ValueError(f"{path} cannot be used: {problem.text}")
    return header


def check_file(path: str | os.PathLike[str]) -> list[Problem]:
    """Return what is wrong with the stream, header and geometry of a volume; its values are not judged.

    Args:
        path: NIfTI, NRRD or MetaImage file, or folder of a DICOM series.
    """
    return _read(path).problems


def _case_problems(
    entry: Mapping[str, str],
    section: str,
    datalist: Datalist,
    seen: dict[str, tuple[str, str]],
    patch_size: Sequence[int] | None,
    spacing: Sequence[float] | None,
    in_channels: int | None,
) -> Iterator[tuple[str, Problem]]:
    file, dims = entry["image"], datalist.spatial_dims
    image = _read(file, dims)
    problems = list(image.problems)
    if image.voxels is not None:
        faults = image_problems(image.voxels, datalist.modality)
        problems += faults + channel_problems(image.voxels, in_channels, dims)
        if not _has_error(faults):
            problems += _duplicates(content_hash(image.voxels), entry["case"], section, seen)
        if patch_size is not None:
            problems += patch_problems(image.header, patch_size, spacing)
    yield from ((file, problem) for problem in problems)
    if "label" in entry:
        label = _read(entry["label"], dims, lambda path: read_label(path, datalist.label_colours, dims))
        yield from ((entry["label"], problem) for problem in _label_problems(image, label, datalist.labels))


def _label_problems(image: _Volume, label: _Volume, names: Mapping[int, str]) -> list[Problem]:
    if label.voxels is None:
        return label.problems
    # What is unusual about a grid was said of the image; the label of a sound image has the same grid.
    problems = pair_problems(image.header, label.header) if image.voxels is not None else label.problems
    return [*problems, *label_problems(label.voxels, names)]


def _duplicates(digest: str, case: str, section: str, seen: dict[str, tuple[str, str]]) -> list[Problem]:
    if digest not in seen:
        seen[digest] = (case, section)
        return []
    other, other_section = seen[digest]
    leaks = section != other_section and bool({section, other_section} & set(_HELD_OUT))
    text = f"it has the same voxels as case {other} in {other_section}; keep it in one place"
    return [
        Problem("error", f"{text}, or the results are not of unseen scans.")
        if leaks
        else Problem("warning", f"{text}.")
    ]


def _read(
    path: str | os.PathLike[str],
    spatial_dims: int = 3,
    read: Callable[[str | os.PathLike[str]], np.ndarray] = read_volume,
) -> _Volume:
    stored = None
    try:
        # A compressed NIfTI file is inflated once, for its checksum and its voxels.
        if is_nifti(path):
            stored = whole_nifti(path)
        else:
            require_whole(path)
        header = read_header(path)
    except ValueError as error:
        return _Volume([Problem("error", str(error))])
    problems = header_problems(header, spatial_dims)
    if _has_error(problems):
        return _Volume(problems, header)
    try:
        voxels = read(path) if stored is None else scaled_nifti(path, stored)
    except ValueError as error:
        return _Volume([*problems, Problem("error", str(error))], header)
    return _Volume(problems, header, voxels.reshape(voxels.shape[:3]))


def _has_error(problems: Sequence[Problem]) -> bool:
    return any(problem.severity == "error" for problem in problems)
