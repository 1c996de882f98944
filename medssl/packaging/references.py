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
    if isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)
    elif isinstance(value, str):
        for reference in ReferenceResolver.match_refs_pattern(value):
            yield reference.split("::")[0]
