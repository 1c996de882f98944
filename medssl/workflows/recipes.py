"""Recipes: YAML files of the source bundles, merged into one configuration for MONAI."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medssl.packaging.sources import source_bundles
from medssl.workflows.config_files import change_setting, has_setting, merge_files, read_config_file
from medssl.workflows.sizes import require_sizes

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

    from medssl.data.datalist import Datalist

_EXTENDS, _AFTER = "extends", "after"
# What a data recipe has that others can be laid over.
_WHOLE = "image_transforms"
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def find_recipe(folder: str, name: str, *others: str) -> Path:
    """Find the YAML file of a recipe: a path of the user, or a name in a folder of the source bundles.

    Args:
        folder: relative to the source bundles, such as ``pretrain/configs/methods``.
        name: a path that ends in .yaml, .yml or .json, or the name of a file in the folder, without its ending.
        others: folders that are searched after the first.

    Raises:
        FileNotFoundError: if the recipe does not exist; lists those that do.

    Example:
        >>> find_recipe("data", "ct").name
        'ct.yaml'
    """
    if name.endswith((".yaml", ".yml", ".json")):
        if not Path(name).is_file():
            raise FileNotFoundError(f"There is no recipe file {name}.")
        return Path(name)
    recipes = [path for place in (folder, *others) for path in sorted((source_bundles() / place).glob("*.yaml"))]
    found = next((path for path in recipes if path.stem == name), None)
    if found is None:
        layers = {path.stem: _after(path) for path in recipes if path.parent.name == "data" and _after(path)}
        known = ", ".join(path.stem for path in recipes if path.stem not in layers)
        laid = ", ".join(f"{layer} (after {' or '.join(bases)})" for layer, bases in layers.items())
        behind = f". Only behind another one: {laid}" if laid else ""
        raise FileNotFoundError(
            f"There is no recipe {name!r} in {folder}. There are: {known}{behind}; or give a .yaml file."
        )
    return found


def _after(path: Path) -> list[str]:
    """Return the recipes of which a recipe changes settings, one of which comes before it; empty for a whole one."""
    return list(read_config_file(path).get(_AFTER, []))


def _require_what_layers_change(files: Sequence[Path]) -> None:
    for number, path in enumerate(files):
        bases = _after(path)
        if bases and not any(_WHOLE in read_config_file(before) for before in files[:number]):
            lines = " or ".join(f"--data {base} --data {path.stem}" for base in bases)
            raise ValueError(f"The recipe {path.stem} only changes settings of another one; give both: {lines}.")


def with_bases(recipe: Sequence[Path]) -> list[Path]:
    """Return the files of a recipe and the files they extend, each base once, before the first file that names it.

    A file names its bases as ``extends: image_level``, or as a list. A base is the name of a file in
    ``pretrain/configs`` of the source bundles, or a path that ends in ``.yaml``, relative to the file.

    Args:
        recipe: YAML or JSON files.

    Raises:
        FileNotFoundError: if a base does not exist.
        ValueError: if a file extends itself, directly or through others.

    Example:
        >>> [path.name for path in with_bases([find_recipe("pretrain/configs/methods", "moco")])]
        ['image_level.yaml', 'sgd.yaml', 'moco.yaml']
    """
    files: list[Path] = []
    for path in recipe:
        files += [base for base in _bases(path, ()) if base not in files]
        files.append(path)
    return files


def _bases(path: Path, descendants: tuple[Path, ...]) -> list[Path]:
    if path.resolve() in descendants:
        raise ValueError(f"{path} extends itself; take it out of 'extends' in {descendants[-1]}.")
    named = read_config_file(path).get(_EXTENDS, [])
    bases: list[Path] = []
    for name in [named] if isinstance(named, str) else named:
        is_file = name.endswith((".yaml", ".yml", ".json"))
        base = find_recipe("pretrain/configs", str(path.parent / name) if is_file else name)
        bases += [*_bases(base, (*descendants, path.resolve())), base]
    return bases


def merge(
    recipe: Sequence[Path], settings: Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Merge recipe files, then settings, then overrides; later ones win. References stay unresolved.

    Args:
        recipe: YAML or JSON files; the files they extend are merged too (see `with_bases`).
        settings: set by the command; they may add names to the recipe.
        overrides: set by the user, in MONAI's syntax, as in ``{"train::trainer::amp": True}``.

    Raises:
        ValueError: if the recipe does not have the name of an override, such as a misspelt one, a size is none, or a
            file changes the settings of another one that does not come before it.

    Example:
        >>> merge([find_recipe("data", "ct")], {"name": "mine"}, {"spacing": [2, 2, 2]})["spacing"]
        [2, 2, 2]
    """
    files = with_bases(recipe)
    _require_what_layers_change(files)
    config = merge_files(files)
    for key in (_EXTENDS, _AFTER):
        config.pop(key, None)
    for key, value in settings.items():
        change_setting(config, key, value)
    for key, value in (overrides or {}).items():
        parent, _, name = key.rpartition("::")
        if not has_setting(config, parent or name):
            near = get_close_matches(parent or name, config, n=1)
            hint = f"; did you mean --{near[0]}?" if near else "."
            raise ValueError(f"The recipe has no setting {parent or name!r}{hint}")
        change_setting(config, key, value)
    require_sizes(config)
    return config


def channel_settings(datalist: Datalist) -> dict[str, Any]:
    """The settings that follow from the channels of a data list whose images are lists of files; none for others."""
    if not datalist.channels:
        return {}
    return {"in_channels": len(datalist.channels), "channel_names": list(datalist.channels)}


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """Parse the overrides of a command line: ``--key value`` or ``--key=value``, with values in YAML.

    Raises:
        ValueError: if an argument is not such a pair, or a value is not valid YAML.

    Example:
        >>> parse_overrides(["--max_epochs", "2", "--train::loss=null"])
        {'max_epochs': 2, 'train::loss': None}
    """
    overrides: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        key, equals, value = argument.partition("=")
        if not key.startswith("--") or (not equals and not rest):
            raise ValueError(f"{argument!r} is not a setting; overrides look like --max_epochs 5.")
        overrides[key.removeprefix("--").replace("#", "::")] = _parse_value(value if equals else rest.pop(0))
    return overrides


def _parse_value(text: str) -> Any:
    # References and expressions of MONAI are not valid YAML scalars; they stay text.
    if text[:1] in {"@", "$", "%"}:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{text!r} is not valid YAML; lists look like [1,2], texts may need quotes.") from error
    # YAML 1.1 reads 1e-3 as text.
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def resolved(parser: ConfigParser, name: str) -> Any:
    """A part of a configuration with every reference replaced by its value, without building components.

    Args:
        parser: parser of the whole configuration.
        name: name of the part.

    Raises:
        ValueError: if the value of a setting cannot be written as JSON, so a change of it would go unnoticed.

    Example:
        >>> from monai.bundle import ConfigParser
        >>> config = {"dims": 2, "network_def": {"_target_": "FPN", "spatial_dims": "@dims"}}
        >>> resolved(ConfigParser(config), "network_def")
        {'_target_': 'FPN', 'spatial_dims': 2}
    """
    value = parser[name]
    if isinstance(value, dict):
        return {key: resolved(parser, f"{name}::{key}") for key in value}
    if isinstance(value, list):
        return [resolved(parser, f"{name}::{index}") for index in range(len(value))]
    if not isinstance(value, str) or value[:1] not in ("@", "$"):
        return value
    if value.startswith("@"):
        return resolved(parser, value[1:])
    result = parser.get_parsed_content(name)
    try:
        return json.loads(json.dumps(result))
    except TypeError:
        if "@" in value:
            raise ValueError(
                f"The value of {name} = {value!r} cannot be written as JSON, so a store could not tell when it "
                "changes; give it as a number or text."
            ) from None
        return value
