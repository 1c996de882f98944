"""Scans and labels in a folder laid out as BIDS (the Brain Imaging Data Structure)."""

import re
from collections import Counter
from pathlib import Path

from medssl.data.names import case_of_file
from medssl.scans.readers import NIFTI_ENDINGS

_FOLDERS = ("anat", "ct", "pet")
_LABEL_SUFFIXES = ("dseg", "mask", "seg", "roi")
# What tells two images of one subject apart; a label repeats those of its image.
_ENTITIES = ("sub", "ses", "acq", "ce", "rec", "run")
_PAIR = re.compile(r"([a-zA-Z]+)-([^_]+)")


def is_bids(folder: Path) -> bool:
    """Tell whether a folder holds BIDS subjects with scans: ``sub-01/anat/…`` or ``sub-01/ses-1/anat/…``."""
    return folder.is_dir() and any(_files(folder))


def bids_cases(
    images: Path, labels: Path | None = None, suffix: str | None = None
) -> tuple[dict[str, Path], dict[str, Path], dict[str, str]]:
    """Return the scan of every case, the label of those that have one, and the subject of each as its group.

    A case is a file of ``anat``, ``ct`` or ``pet`` and is named after it. Its label, in a folder laid out in the same
    way (such as ``derivatives/manual``), has the suffix ``dseg``, ``mask``, ``seg`` or ``roi`` and the same subject,
    session, acquisition and run. Series over time (``func``, ``dwi``) are left out.

    Args:
        images: the data set.
        labels: folder of the labels; ``None``: there are none.
        suffix: of the scans to take, such as ``T1w``; ``None``: the only one there is.

    Raises:
        ValueError: if there are several suffixes and none is chosen, no scan has it, a label fits no scan, or several
            fit one.
    """
    files = [file for file in _files(images) if _suffix(file) not in _LABEL_SUFFIXES]
    counts = Counter(map(_suffix, files))
    if suffix not in counts and (suffix is not None or len(counts) > 1):
        listed = ", ".join(f"{name} ({count} files)" for name, count in counts.most_common())
        example = counts.most_common(1)[0][0]
        raise ValueError(f"{images} holds {listed}; choose one of them, as in --channel {example}.")
    cases = {case_of_file(file): file for file in files if suffix in (None, _suffix(file))}
    found = _labelled(cases, labels) if labels is not None else {}
    return cases, found, {case: _entities(file)["sub"] for case, file in cases.items()}


def _labelled(cases: dict[str, Path], labels: Path) -> dict[str, Path]:
    by_entities: dict[tuple[str, ...], list[str]] = {}
    for case, file in cases.items():
        by_entities.setdefault(_key(file), []).append(case)
    found: dict[str, Path] = {}
    for label in _files(labels):
        if _suffix(label) not in _LABEL_SUFFIXES:
            continue
        fitting = by_entities.get(_key(label), [])
        if len(fitting) != 1:
            raise ValueError(f"{label} fits {len(fitting)} scans; give label and scan the same {', '.join(_ENTITIES)}.")
        case = fitting[0]
        if case in found:
            raise ValueError(f"Case '{case}' has several labels: {found[case]} and {label}; keep one of them.")
        found[case] = label
    if not found:
        raise ValueError(f"{labels} holds no label of a scan, such as sub-01/anat/sub-01_dseg.nii.gz.")
    return found


def _files(folder: Path) -> list[Path]:
    patterns = [f"sub-*/{between}{kind}/sub-*" for kind in _FOLDERS for between in ("", "ses-*/")]
    files = {file for pattern in patterns for file in folder.glob(pattern)}
    return sorted(file for file in files if file.name.lower().endswith(NIFTI_ENDINGS))


def _suffix(file: Path) -> str:
    return case_of_file(file).rpartition("_")[2]


def _entities(file: Path) -> dict[str, str]:
    return dict(_PAIR.findall(case_of_file(file)))


def _key(file: Path) -> tuple[str, ...]:
    entities = _entities(file)
    return tuple(entities.get(name, "") for name in _ENTITIES)
