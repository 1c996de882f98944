"""The plan of a protocol: its file with those it builds on, and the runs it asks for."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from medssl.workflows.recipes import find_recipe

REQUIRED = ("data", "backbones", "labels", "folds", "settings", "pretrain", "segmentation")
_EXTENDS = "extends"

Cell = tuple[str, str, int, int]


def read_plan(protocol: str) -> dict[str, Any]:
    """Return the plan of a protocol, laid over the one that it ``extends``, if any.

    Mappings are merged, key by key; any other value of the extending file replaces that of the base. A backbone or
    setting that is null is left out.

    Args:
        protocol: name of a file below ``bundles/protocols``, or a YAML file. ``extends`` names one in the same way, a
            file relative to the one that names it.

    Raises:
        FileNotFoundError: if there is no such protocol.
        ValueError: if a file is not a mapping or extends itself, or the plan lacks a key, names no draws for a number
            of labels, or a backbone that it does not have.

    Example:
        >>> read_plan("micrographs")["data"]
        ['image_2d']
    """
    path = find_recipe("protocols", protocol)
    plan = _with_base(path, ())
    for key in ("backbones", "settings"):
        plan[key] = {name: choice for name, choice in plan.get(key, {}).items() if choice is not None}
    missing = [key for key in REQUIRED if plan.get(key) is None or (key in ("backbones", "settings") and not plan[key])]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}.")
    for setting, choice in plan["settings"].items():
        unknown = [name for name in choice["backbones"] if name not in plan["backbones"]]
        if unknown:
            raise ValueError(f"{path}: the setting {setting} names {unknown[0]}, which is not in 'backbones'.")
    for num_labels in plan["labels"]:
        try:
            draws(plan["folds"], num_labels)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return plan


def _with_base(path: Path, descendants: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in descendants:
        raise ValueError(f"{path} extends itself; take it out of 'extends' in {descendants[-1]}.")
    plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(plan, dict):
        raise ValueError(f"{path} holds no mapping; a protocol has the keys {', '.join(REQUIRED)}.")
    base = plan.pop(_EXTENDS, None)
    if base is None:
        return plan
    if not isinstance(base, str):
        raise ValueError(f"{path}: 'extends' is {base!r}; name one protocol.")
    is_file = base.endswith((".yaml", ".yml", ".json"))
    found = find_recipe("protocols", str(path.parent / base) if is_file else base)
    return merged(_with_base(found, (*descendants, path.resolve())), plan)


def merged(base: Mapping[Any, Any], changes: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a mapping with changes: mappings in it are merged, other values replaced.

    Example:
        >>> merged({"labels": [1], "pretrain": {"max_epochs": 4, "spacing": 2}}, {"pretrain": {"max_epochs": 9}})
        {'labels': [1], 'pretrain': {'max_epochs': 9, 'spacing': 2}}
    """
    result = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def draws(folds: list[int] | Mapping[Any, Any], num_labels: int) -> list[int]:
    """Return the draws of labelled cases for a number of labels.

    Args:
        folds: a list for all, or, by number of labels, how many; ``default`` stands for the others.
        num_labels: number of labelled cases.

    Raises:
        ValueError: if the mapping has neither the number nor ``default``, or a value is not a number of draws.

    Example:
        >>> draws([0, 3], 1), draws({1: 5, "default": 3}, 1), draws({1: 5, "default": 3}, 10)
        ([0, 3], [0, 1, 2, 3, 4], [0, 1, 2])
    """
    if not isinstance(folds, Mapping):
        return list(folds)
    count = folds.get(num_labels, folds.get("default"))
    if count is None:
        raise ValueError(f"'folds' has no draws for {num_labels} labels; add {num_labels} or default to it.")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"'folds' gives {count!r} for {num_labels} labels; give a number of draws, such as 5.")
    return list(range(count))


def cells(plan: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield every (setting, backbone, number of labels, fold) of a protocol, few labels first.

    Example:
        >>> plan = {"settings": {"linear_probe": {"backbones": ["a"]}}, "labels": [1, 2], "folds": {1: 2, 2: 1}}
        >>> list(cells(plan))
        [('linear_probe', 'a', 1, 0), ('linear_probe', 'a', 1, 1), ('linear_probe', 'a', 2, 0)]
    """
    for num_labels in plan["labels"]:
        for fold in draws(plan["folds"], num_labels):
            for setting, choice in plan["settings"].items():
                for name in choice["backbones"]:
                    yield setting, name, num_labels, fold
