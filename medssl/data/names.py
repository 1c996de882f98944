"""Names of labels and cases that work in every program."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

# A case becomes a file name: no separators, no leading dot or dash, nothing that a shell reads.
_CASE = re.compile(r"\w[\w .,()+=@-]{0,126}[\w)+=@-]|\w")


def require_labels(labels: Mapping[int, str], source: str | os.PathLike[str]) -> None:
    """Require that label values start at 0 = background and have no gaps, and that names are unique and not empty.

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
    names = Counter(name.strip().casefold() for name in labels.values())
    twice = [name for name, count in names.items() if count > 1]
    if twice or "" in names:
        raise ValueError(
            f"{source}: 'labels' has the name '{(twice or [''])[0]}' twice or empty; give every value its own name."
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
