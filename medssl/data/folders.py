"""Data lists from folders of scans and labels."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medssl.data.bids import bids_cases, is_bids
from medssl.data.channel_files import channel_files, chosen_channel
from medssl.data.datalist import MODALITIES, SECTIONS, Datalist
from medssl.data.held_out import groups_of, hold_out
from medssl.data.names import (
    STRUCTURE_ENDING,
    VOLUME_ENDINGS,
    case_of_file,
    composed,
    require_labels,
    require_safe_case,
)
from medssl.scans.colours import Colour, parse_label_colours, require_label_colours
from medssl.scans.contents import label_counts
from medssl.scans.dicom import series_path
from medssl.scans.headers import read_header
from medssl.scans.labels import read_label
from medssl.scans.pictures import is_picture
from medssl.scans.streams import require_whole
from medssl.scans.structures import shared_structures

_LABEL_SUFFIX = re.compile(r"[ ._-](seg|label|labels|mask|segmentation)$", re.IGNORECASE)


def build_datalist(
    images: Path,
    labels: Path | None,
    name: str,
    modality: str | None = None,
    label_names: str | Mapping[int, str] | None = None,
    seed: int = 0,
    num_validation: int = 0,
    num_test: int = 0,
    label_colours: str | Mapping[int, Colour | str] | None = None,
    group: str | None = None,
    channel: str | None = None,
    series: str | None = None,
) -> Datalist:
    r"""Build a data list of all scans in a folder; those without a label become ``unlabeled``.

    A scan is a file (NIfTI, NRRD, MetaImage; in 2D also PNG, TIFF, BMP) or a sub-folder with DICOM files somewhere in
    it, of which one series is taken. A case is named after its file without the ending, or after its sub-folder; files
    that nnU-Net would number, ``CASE_0000``, ``CASE_0001``, …, are the channels of a case. Its label is the file of the
    same name, or with a suffix such as ``_seg``, ``_mask`` or ``-label``; a DICOM SEG or RTSTRUCT is ``CASE.dcm`` or
    the only file in a sub-folder. Hidden files and files of other kinds are ignored. A BIDS data set is read by its own
    rules (`medssl.data.bids`). Validation and test cases are drawn from the labelled ones.

    Args:
        images: folder of the scans.
        labels: folder of the labels; may be that of the scans if the labels have a suffix.
        name: name of the data set.
        modality: ``CT``, ``MR`` or ``image``; ``None``: ``image`` for pictures, ``MR`` for scans of several channels,
            ``CT`` for anything else.
        label_names: names of the values, as ``{1: "liver"}`` or ``"1=liver,2=spleen"``; ``None``: the values in the
            labels become ``label_1``, ``label_2``, …, and the structures that every DICOM SEG or RTSTRUCT has keep
            their names.
        seed: seed of the draw of validation and test cases.
        num_validation: number of labelled cases, or of groups where there are any, that go to ``validation``.
        num_test: number of labelled cases or groups that go to ``test``.
        label_colours: colours of the label values, where masks are colour pictures, as ``{1: (255, 0, 0)}`` or
            ``"0=else,1=#ff0000"``.
        group: regular expression whose first group, in the name of a case, identifies its patient or specimen, such as
            ``(patient\d+)_``; cases of one group are never split across sections, and those without a label are left
            out where others of their group are held out. In BIDS, a case's group is its subject.
        channel: the one to take of several: its number, or the suffix in a BIDS data set, such as ``T1w``.
        series: UID, number or a part of the description of the DICOM series to take from each sub-folder; ``None``: the
            one with most slices.

    Raises:
        ValueError: if there is no scan, two scans have the same name, a label fits no scan, several labels fit one, a
            name does not match ``group``, or no labelled case would be left for training.
    """
    if is_bids(images):
        scans, found, groups = bids_cases(images, labels, channel)
        cases = {case: [path] for case, path in scans.items()}
    else:
        listed, found = _scans_and_labels(images, labels)
        cases = {
            case: [series_path(path, series) if path.is_dir() else path for path in files]
            for case, files in chosen_channel(listed, channel, images).items()
        }
        groups = {}
    if group is not None or not groups:
        groups = groups_of(cases, group)
    if label_names is None and (structures := shared_structures(found.values())):
        label_names = {0: "background", **dict(enumerate(structures, start=1))}
    colours = _colours(label_colours)
    chosen = hold_out(found, groups, seed, num_validation, num_test)
    held_out = {groups[case] for section in ("validation", "test") for case in chosen[section]}
    chosen["unlabeled"] = [case for case in cases.keys() - found.keys() if groups[case] not in held_out]
    sections = {section: _entries(sorted(chosen[section]), cases, found, groups) for section in SECTIONS}
    dims = _spatial_dims([files[0] for files in cases.values()])
    count = len(next(iter(cases.values())))
    values = (_values(file, colours, dims) for file in found.values())
    names = _names(label_names, values, labels, dims)
    channels = tuple(f"channel {number}" for number in range(count)) if count > 1 else ()
    kind = _modality(modality, cases.values())
    return Datalist(name, kind, names, sections, spatial_dims=dims, label_colours=colours, channels=channels)


def parse_label_names(text: str) -> dict[int, str]:
    """Parse ``VALUE=NAME,VALUE=NAME`` into the names of label values; 0 is the background unless named.

    Args:
        text: the text to parse.

    Raises:
        ValueError: if a part has another form, or a value appears twice.

    Example:
        >>> parse_label_names("1=liver, 2=left kidney")
        {0: 'background', 1: 'liver', 2: 'left kidney'}
    """
    names = {0: "background"}
    given = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*=\s*(.*\S)\s*", part)
        if match is None or int(match[1]) in given:
            raise ValueError(f"Label names '{text}': give every value once, as in 1=liver,2=spleen.")
        given.add(int(match[1]))
        names[int(match[1])] = match[2]
    return names


def _scans_and_labels(images: Path, labels: Path | None) -> tuple[dict[str, list[Path]], dict[str, Path]]:
    """Return the files of every case in a folder, one for each channel, and the label of those that have one."""
    is_mixed = labels is not None and images.resolve() == labels.resolve()
    scans, own_labels = _split_by_suffix(_volumes(images, labels), is_mixed)
    if not scans:
        raise ValueError(
            f"{images} holds no scan: neither volumes ({', '.join(VOLUME_ENDINGS)}) nor folders of DICOM slices."
        )
    if labels is not None and not is_mixed:
        own_labels = _volumes(labels, None, STRUCTURE_ENDING)
    stems = [name for file in own_labels for name in _label_names(file)]
    cases = channel_files(_by_case(scans), stems)
    return cases, _match(cases, own_labels)


def _volumes(folder: Path, apart: Path | None, *endings: str) -> list[Path]:
    """List the volume files and DICOM folders in a folder, except the folder ``apart``; files may have more endings."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give the folder that holds the scans or labels.")
    items = sorted(item for item in folder.iterdir() if not item.name.startswith("."))
    volumes = [item for item in items if item.is_file() and item.name.lower().endswith((*VOLUME_ENDINGS, *endings))]
    series = [item for item in items if item.is_dir() and (apart is None or item.resolve() != apart.resolve())]
    if not volumes and not series and any(item.is_file() for item in items):
        if all(item.suffix.lower() in (".jpg", ".jpeg") for item in items):
            raise ValueError(f"{folder} holds JPEG files, whose compression changes pixels; save them as PNG or TIFF.")
        return [folder]
    return volumes + series


def _split_by_suffix(files: list[Path], is_mixed: bool) -> tuple[list[Path], list[Path]]:
    labels = [file for file in files if is_mixed and _LABEL_SUFFIX.search(case_of_file(file))]
    return [file for file in files if file not in labels], labels


def _by_case(files: list[Path]) -> dict[str, Path]:
    cases: dict[str, Path] = {}
    for file in files:
        case = case_of_file(file)
        require_safe_case(case, file)
        if case in cases:
            are_one = composed(file.name) == composed(cases[case].name)
            accents = " (their accents are stored in two ways)" if are_one else ""
            raise ValueError(f"{cases[case]} and {file} would both be case '{case}'{accents}; rename or remove one.")
        cases[case] = file
    return cases


def _label_names(file: Path) -> list[str]:
    """Return the names of the case that a label may belong to."""
    return [case_of_file(file), _LABEL_SUFFIX.sub("", case_of_file(file))]


def _match(scans: Mapping[str, list[Path]], files: list[Path]) -> dict[str, Path]:
    fitting: dict[str, list[Path]] = {}
    for file in files:
        names = _label_names(file)
        case = next((name for name in names if name in scans), None)
        if case is None:
            raise ValueError(f"{file} fits no scan: there is no case '{names[-1]}'; rename or move the label.")
        fitting.setdefault(case, []).append(file)
    for case, several in fitting.items():
        if len(several) > 1:
            listed = ", ".join(file.name for file in several)
            raise ValueError(f"Case '{case}' has several labels: {listed}; keep one of them in {several[0].parent}.")
    return {case: several[0] for case, several in fitting.items()}


def _colours(given: str | Mapping[int, Colour | str] | None) -> dict[int, Colour | str] | None:
    if given is None:
        return None
    return parse_label_colours(given) if isinstance(given, str) else require_label_colours(given, "Label colours")


def _modality(given: str | None, scans: Iterable[list[Path]]) -> Literal["CT", "MR", "image"]:
    if given is None:
        first = list(scans)
        if all(is_picture(file) for files in first for file in files):
            return "image"
        return "MR" if any(len(files) > 1 for files in first) else "CT"
    known = {modality.casefold(): modality for modality in MODALITIES}
    if given.casefold() not in known:
        raise ValueError(f"There is no modality '{given}'; choose one of {', '.join(MODALITIES)}.")
    return known[given.casefold()]


def _spatial_dims(files: Iterable[Path]) -> Literal[2, 3]:
    first, *_ = files
    if first.is_dir() or is_picture(first):
        return 3 if first.is_dir() else 2
    try:
        return 2 if read_header(first).spatial_dims == 2 else 3
    except ValueError:
        # `medssl check` reports damaged files.
        return 3


def _entries(
    cases: list[str], scans: dict[str, list[Path]], labels: dict[str, Path], groups: Mapping[str, str]
) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "case": case,
            **({"group": groups[case]} if groups[case] != case else {}),
            "image": [str(file.absolute()) for file in scans[case]],
        }
        | ({"image": str(scans[case][0].absolute())} if len(scans[case]) == 1 else {})
        | ({"label": str(labels[case].absolute())} if case in labels else {})
        for case in cases
    )


def _names(
    given: str | Mapping[int, str] | None, found: Iterable[set[int]], folder: Path | None, dims: int
) -> dict[int, str]:
    if isinstance(given, str):
        names = parse_label_names(given)
    elif given is not None:
        names = {0: "background", **given}
    else:
        values = {0}.union(*found)
        if dims == 2 and values != set(range(len(values))):
            raise ValueError(
                f"{folder}: the masks hold the values {sorted(values)}, but labels must be 0 = background, 1, 2, … "
                "without gaps; assign the colours, as in --label-colours 0=#000000,1=#ffffff, or renumber them."
            )
        names = {value: f"label_{value}" if value else "background" for value in sorted(values)}
    require_labels(names, folder or "Label names")
    return names


def _values(file: Path, colours: Mapping[int, Colour | str] | None, spatial_dims: int) -> set[int]:
    require_whole(file)
    voxels = read_label(file, colours, spatial_dims)
    if not np.isfinite(voxels).all():
        raise ValueError(f"{file} contains NaN or Inf; export the label again.")
    # A listed colour is a label even if no mask contains it.
    return set(label_counts(voxels)) | set(colours or ())
