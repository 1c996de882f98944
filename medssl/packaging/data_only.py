"""Configurations from elsewhere, read as data: what could run code is refused by the name of its key."""

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from medssl.packaging.known_classes import code_setting, known_name
from medssl.packaging.plain_expressions import only_computes
from medssl.packaging.references import references
from medssl.packaging.trust import TRUST

_REFERENCE = re.compile(r"@\w+(?:(?:::|#)\w+)*")
_RELATIVE = re.compile(r"[@%](?:::|#)")
_SPECIAL_KEY = re.compile(r"_[a-z]+_")
_READ_KEYS = frozenset({"_target_", "_desc_", "_disabled_", "_mode_"})


def data_only(config: Mapping[str, Any], names: Sequence[str], file: Path, trust: bool = False) -> dict[str, Any]:
    """The part of a configuration that some settings need, safe to resolve with MONAI's ConfigParser.

    Nothing is imported but modules of MONAI, torch and medssl, and nothing is built. Allowed are plain values,
    references, classes of `medssl.packaging.known_classes` and expressions that `medssl.packaging.plain_expressions`
    knows. Settings that are not needed are left out, imports among them, so it does not matter what they hold.

    Args:
        config: merged and unresolved.
        names: of the settings that are needed.
        file: that holds the configuration, for messages.
        trust: True returns the whole configuration, whatever it holds.

    Raises:
        ValueError: if a setting is missing, or a part could run code; the message names its key.

    Example:
        >>> config = {"net": {"_target_": "torch.nn.Linear", "in_features": "@size"}, "size": 3, "run": "$exit()"}
        >>> data_only(config, ["net"], Path("inference.json"))["size"]
        3
        >>> data_only(config, ["run"], Path("inference.json"))
        Traceback (most recent call last):
        ...
        ValueError: inference.json: run is the expression '$exit()', which is not evaluated; ...
    """
    if trust:
        return deepcopy(dict(config))
    try:
        return _needed(config, names, file)
    except RecursionError:
        raise ValueError(f"{file} is nested too deeply to be a configuration; copy the folder again.") from None


def _needed(config: Mapping[str, Any], names: Sequence[str], file: Path) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        if name not in config:
            raise ValueError(f"{file} refers to {name!r}, which it does not define.")
        kept[name] = _checked(config[name], name, file)
        waiting += references(config[name])
    return kept


def _checked(value: Any, name: str, file: Path) -> Any:
    """A copy of a part with every class by its full name, so that MONAI builds the class that was judged."""
    if isinstance(value, Mapping):
        parts = {key: _checked(part, f"{name}::{key}", file) for key, part in value.items() if key != "_target_"}
        for fault in _faults(value):
            raise ValueError(f"{file}: {name} {fault}; {TRUST}.")
        return {"_target_": _full_name(value), **parts} if "_target_" in value else parts
    if isinstance(value, list):
        return [_checked(part, f"{name}::{place}", file) for place, part in enumerate(value)]
    if isinstance(value, str):
        for fault in _text_faults(value):
            raise ValueError(f"{file}: {name} {fault}; {TRUST}.")
    return value


def _faults(component: Mapping[str, Any]) -> Iterator[str]:
    unread = [key for key in component if _SPECIAL_KEY.fullmatch(str(key)) and key not in _READ_KEYS]
    if unread:
        yield f"has {unread[0]}, which is not followed"
    if component.get("_mode_", "default") not in ("default", "callable"):
        yield f"has the _mode_ {component['_mode_']!r}, which is not followed"
    if "_target_" in component and _full_name(component) is None:
        yield f"names {component['_target_']!r}, which is not a known network or transform and is not built"
    if "_target_" in component and (key := code_setting(dict(component))) is not None:
        yield f"gives {component['_target_']!r} the setting {key} = {component[key]!r}, which could run or fetch a file"


def _full_name(component: Mapping[str, Any]) -> str | None:
    target = component["_target_"]
    return known_name(target, component.get("_mode_") != "callable") if isinstance(target, str) else None


def _text_faults(text: str) -> Iterator[str]:
    if text.startswith("$") and (_RELATIVE.search(text) or not only_computes(text)):
        yield f"is the expression {text!r}, which is not evaluated"
    elif text.startswith("%"):
        yield f"takes {text!r} from elsewhere, which is not read"
    elif text.startswith("@") and not _REFERENCE.fullmatch(text):
        yield f"is the relative reference {text!r}, which is not followed"
