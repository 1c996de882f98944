"""Recipes: YAML files of the source bundles, merged by MONAI, run by MONAI's ConfigWorkflow."""

import json
import logging
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from multiprocessing.dummy import DummyProcess
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser, ConfigWorkflow

from medssl.packaging.sources import source_bundles

_EXTENDS = "extends"
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def find_recipe(folder: str, name: str, *others: str) -> Path:
    """Give the YAML file of a recipe: a file of the user's, or a name below a folder of the source bundles.

    Args:
        folder: below the source bundles, such as ``pretrain/configs/methods``.
        name: a path ending in .yaml, or the name of a file in the folder without that ending.
        others: folders that are searched after the first.

    Raises:
        FileNotFoundError: naming what there is.

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
        known = ", ".join(path.stem for path in recipes)
        raise FileNotFoundError(f"There is no recipe {name!r} in {folder}. There are: {known}; or give a .yaml file.")
    return found


def with_bases(recipe: Sequence[Path]) -> list[Path]:
    """Return the files of a recipe with those that they extend, each base once and before the first file that names it.

    A file names its bases as ``extends: image_level``, or as a list: files below ``pretrain/configs`` of the source
    bundles, or paths relative to the file that end in ``.yaml``.

    Args:
        recipe: YAML or JSON files.

    Raises:
        FileNotFoundError: if there is no such base.
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
    named = ConfigParser.load_config_file(str(path)).get(_EXTENDS, [])
    bases: list[Path] = []
    for name in [named] if isinstance(named, str) else named:
        is_file = name.endswith((".yaml", ".yml", ".json"))
        base = find_recipe("pretrain/configs", str(path.parent / name) if is_file else name)
        bases += [*_bases(base, (*descendants, path.resolve())), base]
    return bases


def merge(
    recipe: Sequence[Path], settings: Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the merged, unresolved configuration of recipe files, then settings, then overrides, later ones winning.

    Args:
        recipe: YAML or JSON files; what they extend is merged too (see `with_bases`).
        settings: of the command; they may add names to the recipe.
        overrides: of the user, in MONAI's syntax, as in ``{"train::trainer::amp": True}``.

    Raises:
        ValueError: if an override is of something that the recipe does not have, such as a misspelt name.

    Example:
        >>> merge([find_recipe("data", "ct")], {"name": "mine"}, {"spacing": [2, 2, 2]})["spacing"]
        [2, 2, 2]
    """
    config = ConfigParser.load_config_files([str(path) for path in with_bases(recipe)])
    config.pop(_EXTENDS, None)
    parser = ConfigParser(config)
    parser.update(dict(settings))
    for key, value in (overrides or {}).items():
        parent, _, name = key.rpartition("::")
        if (parent or name) not in parser:
            near = get_close_matches(parent or name, parser.get(), n=1)
            hint = f"; did you mean --{near[0]}?" if near else "."
            raise ValueError(f"The recipe has no setting {parent or name!r}{hint}")
        parser[key] = value
    return parser.get()


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """Give the overrides of a command line: ``--key value`` or ``--key=value``, values read as YAML.

    Raises:
        ValueError: naming an argument that is no such pair, or a value that is no YAML.

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
            raise ValueError(f"{argument!r} is no setting; overrides look like --max_epochs 5.")
        overrides[key.removeprefix("--").replace("#", "::")] = _parse_value(value if equals else rest.pop(0))
    return overrides


def _parse_value(text: str) -> Any:
    # A reference or expression of MONAI is no valid YAML scalar, and is meant as text.
    if text[:1] in {"@", "$", "%"}:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{text!r} is no valid YAML value; lists look like [1,2], texts may need quotes.") from error
    # To YAML 1.1, 1e-3 is a text.
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def resolved(parser: ConfigParser, name: str) -> Any:
    """Give a part of a configuration with every reference replaced by its value, but no component built.

    Args:
        parser: holds the whole configuration.
        name: of the part.

    Raises:
        ValueError: if the value of a setting cannot be written down, so that a change of it would go unseen.

    Example:
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
                f"The value of {name} = {value!r} cannot be written down, so a store could not tell when it changes; "
                "give it as a number or text."
            ) from None
        return value


def run_config(config_file: Path, workflow_type: str | None = "train", layers: Sequence[Path] = ()) -> None:
    """Run a configuration as ``python -m monai.bundle run --config_file CONFIG_FILE`` does, in this process.

    Args:
        config_file: a merged configuration.
        workflow_type: ``train`` for a trainer, None for a configuration that only has to have ``run``.
        layers: further files laid over the configuration.

    Raises:
        ValueError: what went wrong in a transform, a handler or the data, without MONAI's RuntimeError around it; so
            do OSError and FloatingPointError.
    """
    logging.getLogger("monai.bundle.workflows").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        # The warning is about untrusted bundles; this configuration was just merged from medssl's own recipes.
        warnings.filterwarnings("ignore", message=".*trust.*", category=UserWarning)
        warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
        # Of 1-wide weights, whose memory is the same whatever their strides.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        workflow = ConfigWorkflow(
            config_file=[str(path) for path in (config_file, *layers)],
            meta_file=str(source_bundles() / "segmentation" / "configs" / "metadata.json"),
            logging_file=False,
            workflow_type=workflow_type,
        )
        try:
            with bare_errors():
                workflow.initialize()
                workflow.run()
                workflow.finalize()
        finally:
            _wait_for_thread_pools()


@contextmanager
def bare_errors() -> Iterator[None]:
    """Raise what went wrong in a transform or a configuration in the block, without MONAI's RuntimeError around it.

    Raises:
        ValueError: so do OSError and FloatingPointError; any other error stays as it is.

    Example:
        >>> from monai.transforms import Compose, Lambda
        >>> with bare_errors():
        ...     Compose([Lambda(int)])("one")
        Traceback (most recent call last):
        ...
        ValueError: invalid literal for int() with base 10: 'one'
    """
    try:
        yield
    except RuntimeError as error:
        cause: BaseException = error
        while isinstance(cause, RuntimeError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, ValueError | OSError | FloatingPointError):
            raise cause from None
        raise


def _wait_for_thread_pools() -> None:
    """Let MONAI's cache finish the case it is at after an error: at the exit of Python, torch would abort in it."""
    for thread in threading.enumerate():
        if isinstance(thread, DummyProcess) and thread is not threading.current_thread():
            thread.join()
