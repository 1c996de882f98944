"""Whether every scan and label of a data list can be trusted."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from medssl.data.datalist import SECTIONS, Datalist, read_datalist
from medssl.data.near_duplicates import ListedScan, NearDuplicates
from medssl.data.same_voxels import Place, SameVoxels
from medssl.scans.channel_voxels import whole_channels
from medssl.scans.channels import grid_problems, image_channels, image_files
from medssl.scans.contents import channel_problems, content_hash, image_problems, label_problems
from medssl.scans.geometry import Problem, pair_problems, patch_problems
from medssl.scans.integrity import WholeVolume, has_error, read_whole, without_path
from medssl.scans.labels import read_label
from medssl.scans.structure_labels import whole_structures
from medssl.scans.structures import structure_path

_HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class Finding:
    """One problem of a case in a data list.

    Attributes:
        case: id of the case.
        section: its section of the list.
        severity: an error must be fixed before training; a warning may be harmless.
        file: the file that has the problem.
        problem: one sentence that says what is wrong and what to do.
    """

    case: str
    section: str
    severity: Literal["error", "warning"]
    file: str
    problem: str


def check_datalist(
    path: str | os.PathLike[str],
    patch_size: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    in_channels: int | None = None,
) -> list[Finding]:
    """List all problems of the cases of a data list, in the order of the list.

    Every file is read to its end. Checked are its stream, header, geometry and voxels, each label against its image and
    the declared values, and whether the same voxels are listed twice, which is a leak across training, validation and
    test; an altered copy of a held-out scan (noise, other intensities, a crop, another grid) is a warning.

    Args:
        path: the data list.
        patch_size: voxels of a training patch along each axis, in RAS; smaller volumes cause a warning.
        spacing: mm to which volumes are resampled before patches are cut; ``None``: no resampling.
        in_channels: channels of the network's input; ``None``: not compared.

    Raises:
        ValueError: if the list itself is invalid; see `read_datalist`.
    """
    datalist = read_datalist(path)
    findings: list[Finding] = []
    seen = SameVoxels()
    alike = NearDuplicates(_HELD_OUT)
    for section in SECTIONS:
        for entry in datalist.sections[section]:
            settings = (patch_size, spacing, in_channels)
            try:
                for file, problem in _case_problems(entry, section, datalist, seen, alike, *settings):
                    text = without_path(problem.text, image_files(file)[0])
                    findings.append(Finding(entry["case"], section, problem.severity, file, text))
            except Exception as error:
                # One bad case must not end the check of the others.
                findings.append(
                    Finding(entry["case"], section, "error", image_files(entry["image"])[0], _reason(error))
                )
    findings += _near_duplicates(alike)
    cases = [(section, entry["case"]) for section in SECTIONS for entry in datalist.sections[section]]
    order = {case: place for place, case in enumerate(cases)}
    return sorted(findings, key=lambda finding: order[finding.section, finding.case])


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it does not fit in memory; crop it, or use a machine with more memory."
    return f"it cannot be checked ({type(error).__name__}: {error}); copy or export it again."


def _case_problems(
    entry: Mapping[str, str],
    section: str,
    datalist: Datalist,
    seen: SameVoxels,
    alike: NearDuplicates,
    patch_size: Sequence[int] | None,
    spacing: Sequence[float] | None,
    in_channels: int | None,
) -> Iterator[tuple[str, Problem]]:
    file, dims = image_files(entry["image"])[0], datalist.spatial_dims
    channels = whole_channels(entry["image"], dims)
    name, image = next(channels)
    problems, is_alone = list(image.problems), len(image_channels(entry["image"])) == 1
    if image.voxels is not None:
        faults = image_problems(image.voxels, datalist.modality)
        problems += faults + channel_problems(image.voxels, in_channels, dims) * is_alone
        if not has_error(faults):
            place, affine = Place(entry["case"], section), image.header.affine
            content, other = seen.add(place, image.voxels, affine, partial(_content, entry["image"], dims))
            problems += [_duplicate(place, other)] if other else []
            if dims == 3 and _can_leak(datalist):
                alike.add(ListedScan(entry["case"], section, file, content), image.voxels, affine)
        if patch_size is not None:
            problems += patch_problems(image.header, patch_size, spacing)
    yield from ((name, problem) for problem in problems)
    for other, volume in channels:
        yield from ((other, problem) for problem in _other_channel(image, volume, datalist.modality))
    if "label" in entry:
        if structure_path(entry["label"]) is not None:
            label = whole_structures(entry["label"], file, datalist.labels, dims)
        else:
            label = read_whole(entry["label"], dims, lambda path: read_label(path, datalist.label_colours, dims))
        yield from ((entry["label"], problem) for problem in _label_problems(image, label, datalist.labels))


def _other_channel(first: WholeVolume, other: WholeVolume, modality: str) -> list[Problem]:
    if first.voxels is None or other.voxels is None:
        return [problem for problem in other.problems if problem.severity == "error"]
    return [*grid_problems(first.header, other.header), *image_problems(other.voxels, modality)]


def _label_problems(image: WholeVolume, label: WholeVolume, names: Mapping[int, str]) -> list[Problem]:
    if label.voxels is None:
        return label.problems
    # Oddities of the grid have been reported for the image; the label of a sound image has the same grid. DICOM
    # structures are put onto it, and their problems are of another kind.
    is_placed = image.voxels is None or structure_path(label.header.path) is not None
    problems = label.problems if is_placed else pair_problems(image.header, label.header)
    return [*problems, *label_problems(label.voxels, names)]


def _content(image: str, dims: int) -> str:
    """Return the hash of a scan that was found sound before; of the first channel where it has several."""
    _, volume = next(whole_channels(image, dims))
    return "" if volume.voxels is None else content_hash(volume.voxels, volume.header.affine)


def _duplicate(place: Place, other: Place) -> Problem:
    leaks = place.section != other.section and bool({place.section, other.section} & set(_HELD_OUT))
    text = f"it has the same voxels as case {other.case} in {other.section}; keep it in one place"
    if leaks:
        return Problem("error", f"{text}, or the results will not be those of unseen scans.")
    return Problem("warning", f"{text}.")


def _can_leak(datalist: Datalist) -> bool:
    filled = [section for section in SECTIONS if datalist.sections[section]]
    return len(filled) > 1 and any(section in _HELD_OUT for section in filled)


def _near_duplicates(alike: NearDuplicates) -> Iterator[Finding]:
    for scan, other, likeness in alike.pairs():
        text = (
            f"it is {likeness:.0%} like {other.file} (case {other.case} in {other.section}), as an altered copy is; "
            "look at both, and keep the scans of a patient in one section."
        )
        yield Finding(scan.case, scan.section, "warning", scan.file, text)
