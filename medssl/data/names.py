"""Names of labels and cases that work in every program."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medssl.scans.pictures import PICTURE_ENDINGS
from medssl.scans.readers import ITK_ENDINGS, NIFTI_ENDINGS

VOLUME_ENDINGS = (*sorted(NIFTI_ENDINGS, key=len, reverse=True), *ITK_ENDINGS, *PICTURE_ENDINGS)
# Of a DICOM SEG or RTSTRUCT; scans are folders of slices, whose names say nothing.
STRUCTURE_ENDING = ".dcm"
# What MONAI's configurations, in which names of labels and channels stand, take for code, a reference or another file.
_CODE = re.compile(r"[$@%]|.*[@%](#|::)")
# A case becomes a file name: no separators, no leading dot or dash, nothing that a shell reads.
_CASE = re.compile(r"\w[\w .,()+=@-]{0,126}[\w)+=@-]|\w")


def require_labels(labels: Mapping[int, str], source: str | os.PathLike[str]) -> None:
    """Require that label values start at 0 = background without gaps, and that names are unique texts of one line.

    Args:
        labels: name of every value.
        source: what the error message names.

    Raises:
        ValueError: if they do not.
    """
    if sorted(labels) != list(range(len(labels))):
        raise ValueError(
            f"{source}: 'labels' are {sorted(labels)}; renumber them as 0 = background, 1, 2, … without gaps."
        )
    unprintable = [name for name in labels.values() if not name.isprintable()]
    if unprintable:
        raise ValueError(
            f"{source}: the label name {unprintable[0]!r} has a line break or another sign without a shape."
        )
    require_no_code(labels.values(), "label", source)
    names = Counter(name.strip().casefold() for name in labels.values())
    twice = [name for name, count in names.items() if count > 1]
    if twice or "" in names:
        raise ValueError(
            f"{source}: 'labels' has the name '{(twice or [''])[0]}' twice or empty; give every value its own name."
        )


def require_no_code(names: Iterable[str], kind: str, source: str | os.PathLike[str]) -> None:
    """Require that names are texts where a configuration of MONAI holds them, which runs what follows a ``$``.

    Args:
        names: of labels or channels.
        kind: of thing that they name, for the message.
        source: what the error message names.

    Raises:
        ValueError: if one is not.

    Example:
        >>> require_no_code(["liver (left)", "T2*", "95 % isodose", "a$"], "label", "list.json")
    """
    for name in names:
        if _CODE.match(name):
            raise ValueError(
                f"{source}: the {kind} name {name!r} starts with $, @ or %, or holds @#, @::, %# or %::, which a "
                "configuration takes for code or a reference; rename it."
            )


def require_safe_case(case: Any, source: str | os.PathLike[str]) -> None:
    """Require that a case id can be part of a file name.

    Args:
        case: the id.
        source: what the error message names.

    Raises:
        ValueError: if it cannot.
    """
    if not isinstance(case, str) or not _CASE.fullmatch(case):
        raise ValueError(
            f"{source}: case {case!r} cannot be part of a file name; use up to 128 letters, digits and . _ - , "
            "starting with a letter or digit."
        )


def composed(text: str) -> str:
    """Return a text with its accents composed (Unicode NFC); macOS stores names of files with them apart.

    Example:
        >>> len("Mu\u0308ller"), len(composed("Mu\u0308ller"))
        (7, 6)
    """
    return unicodedata.normalize("NFC", text)


def case_of_file(path: str | os.PathLike[str]) -> str:
    """Return the name of a scan's file without folder and ending, which serves as the id of its case.

    Accents are composed (NFC), whichever way the file system stores them, so that names of scan and label meet.

    Args:
        path: file of a scan, or folder of a DICOM series, whose name is kept whole.

    Example:
        >>> case_of_file("scans/liver_1.2.nii.gz"), case_of_file("scans/patient.7")
        ('liver_1.2', 'patient.7')
    """
    name = composed(Path(path).name)
    endings = () if Path(path).is_dir() else (*VOLUME_ENDINGS, STRUCTURE_ENDING)
    ending = next((ending for ending in endings if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]
