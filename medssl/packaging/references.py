"""References between the settings of a configuration."""

from collections.abc import Iterator, Mapping
from typing import Any

from monai.bundle.reference_resolver import ReferenceResolver


def references(value: Any) -> Iterator[str]:
    """Yield the top-level keys that a part of a configuration refers to.

    Example:
        >>> list(references({"pixdim": "@spacing", "window": ["$@range[0]"]}))
        ['spacing', 'range']
    """
    for text in texts(value):
        for reference in ReferenceResolver.match_refs_pattern(text):
            yield reference.split("::")[0]


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a configuration, keys left out.

    Args:
        value: a mapping, a list, or anything in one.

    Example:
        >>> list(texts({"a": ["x", {"b": "y"}], "c": 1}))
        ['x', 'y']
    """
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from texts(part)
    elif isinstance(value, str):
        yield value
