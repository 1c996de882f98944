"""Whether the configuration of a run can be packed and tried without running anyone's code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medssl.moved import current_name
from medssl.packaging.data_only import data_only
from medssl.packaging.inference_config import RUN_DECIDES
from medssl.packaging.references import texts
from medssl.packaging.sources import source_bundles
from medssl.packaging.trust import TRUST

# What trainings of medssl start with.
_STEPS = frozenset({"monai.utils.set_determinism", "medssl.runs.folder.claim_run_folder"})
_IMPORTS = frozenset({"$import torch"})


def require_data(kind: str, config: Mapping[str, Any], inference: Mapping[str, Any], file: Path) -> None:
    """Raises ValueError if MONAI's commands would run code of a run, and not of medssl, on the bundle packed from it.

    The settings that inference takes from the run must be data. What a training starts with must be that of medssl's
    recipes, and nothing else may import a module, because `monai.bundle.load` starts the training to get its network.

    Args:
        kind: ``pretrain`` or ``segmentation``.
        config: configuration of the run.
        inference: what `medssl.packaging.inference_config.inference_config` makes of it.
        file: that holds `config`, for messages.
    """
    template = ConfigParser.load_config_file(str(source_bundles() / kind / "configs" / "inference.yaml"))
    data_only(inference, [name for name in inference if name not in template or name in RUN_DECIDES], file)
    for text in texts(config):
        if "import" in text and text.startswith("$") and text not in _IMPORTS:
            raise ValueError(f"{file} holds {text!r}, which imports code and is not run; {TRUST}.")
    steps = config.get("initialize", [])
    if not isinstance(steps, list) or not all(map(_is_own_step, steps)):
        raise ValueError(f"{file}: initialize is not that of medssl's recipes, and is not run; {TRUST}.")
    arguments = [{key: value for key, value in step.items() if key != "_target_"} for step in steps]
    data_only({**config, "initialize": arguments}, ["initialize"], file)


def _is_own_step(step: Any) -> bool:
    return isinstance(step, Mapping) and current_name(str(step.get("_target_"))) in _STEPS
