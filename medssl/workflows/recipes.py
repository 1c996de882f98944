"""Recipes: YAML files of the source bundles, merged by MONAI, run by MONAI's ConfigWorkflow."""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser, ConfigWorkflow

from medssl.packaging.sources import source_bundles

logger = logging.getLogger(__name__)


def find_recipe(folder: str, name: str) -> Path:
    """Give the YAML file of a recipe: a file of the user's, or a name below a folder of the source bundles.

    Args:
        folder: below the source bundles, such as ``pretrain/configs/methods``.
        name: a path ending in .yaml, or the name of a file in the folder without that ending.

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
    path = source_bundles() / folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise FileNotFoundError(f"There is no recipe {name!r} in {folder}. There are: {known}; or give a .yaml file.")
    return path


def merge(recipe: Sequence[Path], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Give the merged, unresolved configuration of recipe files, later files and then overrides winning.

    Overrides use MONAI's syntax: ``{"train::trainer::max_epochs": 2}``.
    """
    parser = ConfigParser(ConfigParser.load_config_files([str(path) for path in recipe]))
    parser.update(dict(overrides))
    return parser.get()


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """Give the overrides of a command line: ``--key value`` or ``--key=value``, values read as YAML.

    Raises:
        ValueError: naming an argument that is no such pair.

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
    return text if text[:1] in {"@", "$", "%"} else yaml.safe_load(text)


def read_config(run_dir: Path) -> dict[str, Any]:
    """Give the configuration of a run.

    Raises:
        FileNotFoundError: if the folder holds no run.
    """
    path = run_dir / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{run_dir} holds no config.json: it is not the folder of a medssl run.")
    return json.loads(path.read_text())


def run_config(config_file: Path, workflow_type: str | None = "train") -> None:
    """Run a configuration as ``python -m monai.bundle run --config_file CONFIG_FILE`` does, in this process.

    Args:
        config_file: a merged configuration.
        workflow_type: ``train`` for a trainer, None for a configuration that only has to have ``run``.
    """
    logging.getLogger("monai.bundle").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        # The warning is about untrusted bundles; this configuration was just merged from medssl's own recipes.
        warnings.filterwarnings("ignore", message=".*trust.*", category=UserWarning)
        warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
        workflow = ConfigWorkflow(
            config_file=str(config_file),
            meta_file=str(source_bundles() / "segmentation" / "configs" / "metadata.json"),
            logging_file=False,
            workflow_type=workflow_type,
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()
