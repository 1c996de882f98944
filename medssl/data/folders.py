"""From folders of scans and labels to a data list."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from medssl.data.contents import label_counts
from medssl.data.datalist import SECTIONS, Datalist, require_labels, require_safe_case
from medssl.data.dicom import series_files
from medssl.data.readers import ITK_ENDINGS, read_volume
from medssl.data.splits import shuffled_cases
from medssl.data.streams import require_whole

_ENDINGS = (".nii.gz", ".nii", *ITK_ENDINGS)
_LABEL_SUFFIX = re.compile(r"[ ._-](seg|label|labels|mask|segmentation)$", re.IGNORECASE)


def build_datalist(
    images: Path,
    labels: Path | None,
    name: str,
    modality: Literal["CT", "MR"],
    label_names: str | Mapping[int, str] | None = None,
    seed: int = 0,
    num_validation: int = 0,
    num_test: int = 0,
) -> Datalist:
    """Return a data list of all scans in a folder; those without a label are ``unlabeled``.

    A scan is a volume file (NIfTI, NRRD, MetaImage) or a sub-folder with one DICOM series; sub-folders with several are
    an error, for a case is the path of its folder. A case is named as its file without ending, or as its sub-folder.
    Its label is the file of that name, also with a suffix such as ``_seg`` or ``-label``. Hidden files and files of
    other kinds are passed over. Validation and test cases are drawn from the labelled ones.

    Args:
        images: folder of the scans.
        labels: folder of the labels; it may be that of the scans, where labels then need a suffix.
        name: of the data set.
        modality: of the scans.
        label_names: names of the values, as ``{1: "liver"}`` or ``"1=liver,2=spleen"``; ``None``: every value that the
            labels hold becomes ``label_1``, ``label_2``, …
        seed: of the choice of validation and test cases.
        num_validation: how many labelled cases go to ``validation``.
        num_test: how many labelled cases go to ``test``.

    Raises:
        ValueError: if there is no scan, two have one name, a label fits no scan or several fit one, or no labelled
            case would be left for training.
    """
    is_mixed = labels is not None and images.resolve() == labels.resolve()
    scans, own_labels = _split_by_suffix(_volumes(images, labels), is_mixed)
    if not scans:
        raise ValueError(
            f"{images} holds no scan: neither volumes ({', '.join(_ENDINGS)}) nor folders of DICOM slices."
        )
    cases = _by_case(scans)
    found = _match(cases, own_labels if is_mixed or labels is None else _volumes(labels, None))
    labelled = shuffled_cases(found, seed)
    held_out = num_validation + num_test
    if min(num_validation, num_test) < 0 or (held_out and held_out >= len(labelled)):
        raise ValueError(
            f"{held_out} held-out of {len(labelled)} labelled cases leave none for training; hold out fewer."
        )
    chosen = {
        "training": labelled[held_out:],
        "validation": labelled[:num_validation],
        "test": labelled[num_validation:held_out],
        "unlabeled": cases.keys() - found.keys(),
    }
    sections = {section: _entries(sorted(chosen[section]), cases, found) for section in SECTIONS}
    return Datalist(name, modality, _names(label_names, found.values(), labels), sections)


def parse_label_names(text: str) -> dict[int, str]:
    """Return the names of label values from ``VALUE=NAME,VALUE=NAME``; 0 is the background if it is not given.

    Args:
        text: to parse.

    Raises:
        ValueError: if a part is not of that form, or a value comes twice.

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


def _volumes(folder: Path, apart: Path | None) -> list[Path]:
    """List the volume files and DICOM folders in a folder, except the folder ``apart``."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give the folder that holds the scans or labels.")
    items = sorted(item for item in folder.iterdir() if not item.name.startswith("."))
    volumes = [item for item in items if item.is_file() and item.name.lower().endswith(_ENDINGS)]
    series = [item for item in items if item.is_dir() and (apart is None or item.resolve() != apart.resolve())]
    for item in series:
        series_files(item)
    if not volumes and not series and any(item.is_file() for item in items):
        series_files(folder)
        return [folder]
    return volumes + series


def _split_by_suffix(files: list[Path], is_mixed: bool) -> tuple[list[Path], list[Path]]:
    labels = [file for file in files if is_mixed and _LABEL_SUFFIX.search(_stem(file))]
    return [file for file in files if file not in labels], labels


def _by_case(files: list[Path]) -> dict[str, Path]:
    cases: dict[str, Path] = {}
    for file in files:
        case = _stem(file)
        require_safe_case(case, file)
        if case in cases:
            raise ValueError(f"{cases[case]} and {file} would both be case '{case}'; rename or remove one.")
        cases[case] = file
    return cases


def _match(scans: dict[str, Path], files: list[Path]) -> dict[str, Path]:
    fitting: dict[str, list[Path]] = {}
    for file in files:
        names = [_stem(file), _LABEL_SUFFIX.sub("", _stem(file))]
        case = next((name for name in names if name in scans), None)
        if case is None:
            raise ValueError(f"{file} fits no scan: there is no case '{names[-1]}'; rename the label or move it away.")
        fitting.setdefault(case, []).append(file)
    for case, several in fitting.items():
        if len(several) > 1:
            listed = ", ".join(file.name for file in several)
            raise ValueError(f"Case '{case}' has several labels: {listed}; keep one of them in {several[0].parent}.")
    return {case: several[0] for case, several in fitting.items()}


def _entries(cases: list[str], scans: dict[str, Path], labels: dict[str, Path]) -> tuple[dict[str, str], ...]:
    return tuple(
        {"case": case, "image": str(scans[case].absolute())}
        | ({"label": str(labels[case].absolute())} if case in labels else {})
        for case in cases
    )


def _names(given: str | Mapping[int, str] | None, files: Iterable[Path], folder: Path | None) -> dict[int, str]:
    if isinstance(given, str):
        names = parse_label_names(given)
    elif given is not None:
        names = {0: "background", **given}
    else:
        values = set().union(*(_values(file) for file in files))
        names = {value: f"label_{value}" if value else "background" for value in sorted({0} | values)}
    require_labels(names, folder or "Label names")
    return names


def _values(file: Path) -> set[int]:
    require_whole(file)
    voxels = read_volume(file)
    if not np.isfinite(voxels).all():
        raise ValueError(f"{file} holds NaN or Inf; export the label again.")
    return set(label_counts(voxels))


def _stem(path: Path) -> str:
    if path.is_dir():
        return path.name
    ending = next(ending for ending in _ENDINGS if path.name.lower().endswith(ending))
    return path.name[: -len(ending)]
