"""Configuration files as MONAI reads and merges them, without MONAI.

MONAI's `ConfigParser` does the same, and it resolves and builds what these functions leave as text. But to import it
takes seconds, which nobody should wait for to read that a name is misspelt.
"""

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

SEPARATOR = "::"
_MERGE = "+"


def read_config_file(path: Path) -> dict[str, Any]:
    """Return the content of a YAML or JSON file.

    Raises:
        ValueError: if it is not valid, holds no mapping, or has a key twice.
    """
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix.lower() == ".json":
            content = json.loads(text, object_pairs_hook=_unique)
        else:
            # The loader is a safe one.
            content = yaml.load(text, _Loader)  # noqa: S506
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold settings, as in 'max_epochs: 5'.")
    return content


def merge_files(paths: Iterable[Path]) -> dict[str, Any]:
    """Return one configuration of several files; later ones win, and ``+key`` adds to a mapping or a list.

    Raises:
        ValueError: if a file is not valid, sets a part of something that the files before it lack, or adds to something
            that is neither a mapping nor a list.
    """
    config: dict[str, Any] = {}
    for path in paths:
        for key, value in read_config_file(path).items():
            name = str(key).removeprefix(_MERGE)
            adds = name != key
            if adds and has_setting(config, name):
                _add(path, setting(config, name), key, value)
                continue
            if adds:
                warnings.warn(f"{path}: {name!r} of {key} is not in the files before it; it is set.", stacklevel=2)
            try:
                change_setting(config, name, value)
            except KeyError:
                raise ValueError(
                    f"{path.name} sets {name!r}, which the recipes before it have no place for: it is meant for others."
                ) from None
    return config


def setting(config: Mapping[str, Any] | Sequence[Any], name: str) -> Any:
    """Return a part of a configuration, as written.

    Args:
        config: nested mappings and lists.
        name: keys and positions in lists, joined by ``::`` or ``#``.

    Raises:
        KeyError: if there is no such part.

    Example:
        >>> setting({"train": {"handlers": ["first", "second"]}}, "train::handlers::1")
        'second'
    """
    part: Any = config
    for key in name.replace("#", SEPARATOR).split(SEPARATOR):
        try:
            part = part[int(key)] if isinstance(part, list) else part[key]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise KeyError(name) from error
    return part


def has_setting(config: Mapping[str, Any], name: str) -> bool:
    """Tell whether a configuration has a part of this name."""
    try:
        setting(config, name)
    except KeyError:
        return False
    return True


def change_setting(config: dict[str, Any], name: str, value: Any) -> None:
    """Set a part of a configuration, which it may lack; the part that holds it must be there.

    Args:
        config: changed in place.
        name: as in `setting`.
        value: of the part.

    Raises:
        KeyError: if what would hold the part is missing, or is not a mapping or a list.
    """
    parent, _, key = name.replace("#", SEPARATOR).rpartition(SEPARATOR)
    part = setting(config, parent) if parent else config
    try:
        part[int(key) if isinstance(part, list) else key] = value
    except (IndexError, ValueError, TypeError) as error:
        raise KeyError(name) from error


def _add(path: Path, present: Any, key: str, value: Any) -> None:
    if isinstance(present, dict) and isinstance(value, dict):
        present.update(value)
    elif isinstance(present, list) and isinstance(value, list):
        present.extend(value)
    else:
        raise ValueError(f"{path}: {key} can add a mapping to a mapping or a list to a list, and nothing else.")


def _unique(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"the key {twice[0]!r} appears twice.")
    return dict(pairs)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _unique([(self.construct_object(key, deep=True), None) for key, _ in node.value])
        return super().construct_mapping(node, deep)
