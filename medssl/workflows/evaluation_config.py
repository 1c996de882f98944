"""The configuration of an evaluation: what it takes from the run is read as data."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.packaging.data_only import data_only
from medssl.packaging.references import references
from medssl.runs.folder import read_config
from medssl.workflows.config_files import read_config_file
from medssl.workflows.recipes import find_recipe, merge

_FOLDER = "segmentation/configs"


def evaluation_config(
    run_dir: Path, layers: Sequence[str], settings: Mapping[str, Any], overrides: Mapping[str, Any], trust: bool = False
) -> dict[str, Any]:
    """Return the configuration of an evaluation: of the run, what the evaluation needs, and the recipes laid over it.

    Args:
        run_dir: folder of a segmentation run.
        layers: further recipes, merged after that of the evaluation, or YAML files.
        settings: set by the command.
        overrides: set by the user.
        trust: True takes over whatever the configuration of the run says.

    Raises:
        FileNotFoundError: if there is no such recipe.
        ValueError: if what the evaluation takes from the run could run code.
    """
    # Provides the settings that are newer than the run.
    train, file = find_recipe(_FOLDER, "train"), run_dir / "config.json"
    laid_over = [find_recipe(_FOLDER, name) for name in ("evaluate", *layers)]
    config = merge([train, file, *laid_over], settings, overrides)
    if trust:
        return config
    given = [*settings, *overrides, *(key.removeprefix("+") for path in laid_over for key in read_config_file(path))]
    stored = read_config(run_dir)
    starts = {key for key in config if key not in stored} | {key.split("::")[0] for key in given}
    ranks = read_config_file(find_recipe(_FOLDER, "evaluate_multi_gpu"))
    needed = _needed(config, [*starts, *references(ranks)])
    taken_over = [key for key in needed if key in stored and key not in given]
    data_only({**merge([train], {}), **stored}, taken_over, file)
    return {key: value for key, value in config.items() if key in needed}


def _needed(config: Mapping[str, Any], names: Iterable[str]) -> set[str]:
    needed: set[str] = set()
    waiting = [name for name in names if name in config]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [reference for reference in references(config[name]) if reference in config]
    return needed
