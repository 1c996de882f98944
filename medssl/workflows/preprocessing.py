"""The deterministic preprocessing of a pretraining recipe."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssl.workflows.recipes import resolved

if TYPE_CHECKING:
    from monai.transforms import Compose

STEPS = ("image_transforms", "foreground_transforms")


def preprocessing_of(config: Mapping[str, Any]) -> list[Any]:
    """The settings of the deterministic transforms, with every reference replaced by its value.

    Args:
        config: a merged pretraining recipe.

    Raises:
        ValueError: if the value of a setting cannot be written as JSON, so a change of it would go unnoticed.

    Example:
        >>> config = {"size": [2, 2], "image_transforms": [{"_target_": "Spacingd", "pixdim": "@size", "diagonal": 1}]}
        >>> preprocessing_of({**config, "foreground_transforms": []})
        [{'_target_': 'Spacingd', 'pixdim': [2, 2], 'diagonal': 1}]
    """
    from monai.bundle import ConfigParser

    parser = ConfigParser(deepcopy(dict(config)))
    return [step for steps in STEPS for step in resolved(parser, steps)]


def preprocessing_transform(config: Mapping[str, Any]) -> Compose:
    """The transforms that `preprocessing_of` describes; they map ``{"image": path}`` to an image and its body mask."""
    from monai.bundle import ConfigParser

    return ConfigParser(deepcopy(dict(config))).get_parsed_content("train::preprocessing")


def changed_settings(first: Any, second: Any, name: str = "") -> list[str]:
    """The differences of two resolved configurations, one text per setting.

    Example:
        >>> changed_settings([{"_target_": "Spacingd", "pixdim": [1, 1]}], [{"_target_": "Spacingd", "pixdim": [2, 2]}])
        ['Spacingd: pixdim [1, 1] -> [2, 2]']
    """
    if isinstance(first, list) and isinstance(second, list) and _targets(first) == _targets(second) != []:
        pairs = zip(_targets(first), first, second, strict=True)
        return [text for target, a, b in pairs for text in changed_settings(a, b, f"{target}: ")]
    if isinstance(first, dict) and isinstance(second, dict):
        keys = sorted(first.keys() | second.keys())
        return [text for key in keys for text in changed_settings(first.get(key), second.get(key), f"{name}{key} ")]
    return [] if first == second else [f"{name}{_short(first)} -> {_short(second)}"]


def require_same_preprocessing(store: Path, config: Mapping[str, Any]) -> str:
    """Return the hash of a recipe's preprocessing; raises ValueError if a store was prepared with another one.

    Args:
        store: its folder.
        config: a merged pretraining recipe.

    Raises:
        FileNotFoundError: if the folder holds no finished store.
        ValueError: if the preprocessing differs; names the settings.
    """
    from medssl.data.store import preprocessing_sha256, read_manifest

    manifest, wanted = read_manifest(store), preprocessing_of(config)
    if manifest["preprocessing_sha256"] != preprocessing_sha256(wanted):
        changes = "; ".join(changed_settings(manifest["preprocessing"], wanted))
        raise ValueError(
            f"{store} was prepared with other settings than this run's (store -> run): {changes}. Run `medssl prepare` "
            "with the recipes and settings of the run, into this or another folder."
        )
    return manifest["preprocessing_sha256"]


def _targets(steps: list[Any]) -> list[str]:
    named = [step.get("_target_", "").rpartition(".")[2] for step in steps if isinstance(step, dict)]
    return named if len(named) == len(steps) else []


def _short(value: Any) -> str:
    steps = _targets(value) if isinstance(value, list) else []
    return ", ".join(steps) if steps else str(value)
