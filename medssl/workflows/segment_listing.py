"""Which scans there are and which masks belong to them; what cannot be used is listed instead of ending the command."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from medssl.data.names import STRUCTURE_ENDING, require_safe_case
from medssl.scans.channels import missing_channel, numbered_channels
from medssl.scans.dicom import dicom_series
from medssl.scans.integrity import without_path
from medssl.scans.readers import ITK_ENDINGS, NIFTI_ENDINGS
from medssl.scans.structures import structure_path
from medssl.workflows.segment_facts import Scan

# Longest first, so that `.nii.gz` and `.seg.nrrd` go as a whole.
_ENDINGS = tuple(sorted((".seg.nrrd", *NIFTI_ENDINGS, *ITK_ENDINGS), key=len, reverse=True))
_SUFFIXES = tuple(mark + word for mark in " ._-" for word in ("segmentation", "labels", "label", "mask", "seg"))


@dataclass
class Listing:
    """What was found.

    Attributes:
        scans: by case.
        labels: mask by case.
        problems: one sentence for everything left out, by the name of its file.
        channels: names of the channels where scans have several, if they have names.
        modality: of the scans, if a data list says it.
        label_names: by value, if a data list says them.
    """

    scans: dict[str, Scan] = field(default_factory=dict)
    labels: dict[str, Path] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    modality: str | None = None
    label_names: dict[int, str] | None = None


def list_scans(scans: Path, labels: Path, output_dir: Path) -> Listing:
    """List the scans of a folder and their masks.

    A scan is a volume (NIfTI, NRRD, MetaImage) or a sub-folder with one DICOM series, its case the name without the
    ending; files that nnU-Net would number, ``CASE_0000``, ``CASE_0001``, …, are the channels of a case. Its mask has
    the same name, or one with a suffix such as ``_seg`` or ``-label``. A DICOM SEG or RTSTRUCT is a mask: a ``.dcm``
    file, or the only file in a sub-folder.

    Args:
        scans: folder of the scans.
        labels: folder of the masks; may be that of the scans if the masks have a suffix.
        output_dir: is passed over where it lies in one of them.

    Raises:
        ValueError: if a folder is missing, or there is no scan.
    """
    found = Listing()
    is_mixed = scans.resolve() == labels.resolve()
    masks = list(named_files(labels, (output_dir, scans), Listing() if is_mixed else found))
    if is_mixed:
        masks = [(stem, path) for stem, path in masks if _is_mask(stem, path)]
    paths, files = [path for _, path in masks], {}
    for case, path in named_files(scans, (output_dir, labels), found):
        if (is_mixed and path in paths) or (path.is_file() and path.name.lower().endswith(STRUCTURE_ENDING)):
            continue
        if case in files:
            found.problems[path.name] = f"{files[case].name} has the same name; rename one of them."
        else:
            files[case] = path
    _group(found, files, [name for stem, _ in masks for name in (stem, _without_suffix(stem))])
    if not found.scans:
        raise ValueError(f"{scans} holds no scan that can be used: {_listed(found.problems)}")
    match_masks(found, masks)
    return found


def _group(found: Listing, files: dict[str, Path], masks: list[str]) -> None:
    """Add the scans of files, those of several channels where their names are numbered."""
    grouped = numbered_channels(files, masks)
    if grouped is None:
        found.scans |= files
        return
    for case, channels in grouped.items():
        if missing := missing_channel(case, channels, grouped):
            text = f"{missing} is missing, a channel of this scan by the names of the others; add it, or rename this."
            found.problems[files[channels[0]].name] = text
        else:
            several = [str(files[channel]) for channel in channels]
            found.scans[case] = several if len(several) > 1 else files[channels[0]]


def match_masks(found: Listing, masks: list[tuple[str, Path]]) -> None:
    """Add masks to the scans of their names; one that belongs to none, or is the second one, is a problem.

    Args:
        found: gets them.
        masks: their names without ending, and their files.
    """
    for stem, path in masks:
        case = next((name for name in (stem, _without_suffix(stem)) if name in found.scans), None)
        if case is None:
            found.problems[path.name] = f"there is no scan '{_without_suffix(stem)}' for this mask; rename it."
        elif case in found.labels:
            found.problems[path.name] = f"{found.labels[case].name} is a mask of the same scan; keep one of them."
        else:
            found.labels[case] = path


def named_files(folder: Path, apart: tuple[Path, ...], found: Listing) -> Iterator[tuple[str, Path]]:
    """Yield the volumes and DICOM series of a folder with their names; what is neither becomes a problem.

    Args:
        folder: of scans or masks.
        apart: paths to pass over.
        found: gets the problems.

    Raises:
        ValueError: if there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give the folder that holds the scans or masks.")
    passed_over = {path.resolve() for path in apart}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.resolve() in passed_over:
            continue
        ending = next((ending for ending in _ENDINGS if path.name.lower().endswith(ending)), "")
        if path.name.lower().endswith(STRUCTURE_ENDING) and structure_path(path) == path:
            ending = STRUCTURE_ENDING
        if not ending and not path.is_dir():
            continue
        case = path.name if path.is_dir() else path.name[: -len(ending)]
        try:
            require_safe_case(case, path.name)
            if path.is_dir() and structure_path(path) is None:
                dicom_series(path)
        except ValueError as error:
            # The name stands before every problem already.
            found.problems[path.name] = without_path(str(error).removeprefix(f"{path.name}: "), path)
        else:
            yield case, path


def _is_mask(stem: str, path: Path) -> bool:
    return path.name.lower().endswith((".seg.nrrd", STRUCTURE_ENDING)) or _without_suffix(stem) != stem


def _without_suffix(stem: str) -> str:
    suffix = next((suffix for suffix in _SUFFIXES if stem.lower().endswith(suffix)), "")
    return stem[: len(stem) - len(suffix)]


def _listed(problems: dict[str, str]) -> str:
    if not problems:
        return f"neither volumes ({', '.join(_ENDINGS)}) nor folders of DICOM slices."
    return " ".join(f"{name}: {text}" for name, text in problems.items())
