"""Whether the configuration of a run can be packed and tried without running anyone's code."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medssl.packaging.data_only import data_only
from medssl.packaging.inference_config import RUN_DECIDES
from medssl.packaging.sources import source_bundles
from medssl.packaging.trust import TRUST

# MONAI's commands run them before anything else.
_START = ("imports", "initialize")


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
    template, train = (
        ConfigParser.load_config_file(str(source_bundles() / kind / "configs" / name))
        for name in ("inference.yaml", "train.yaml")
    )
    data_only(inference, [name for name in inference if name not in template or name in RUN_DECIDES], file)
    for name in _START:
        if name in config and config[name] != train[name]:
            raise ValueError(f"{file}: {name} is not that of medssl's recipes, and is not run; {TRUST}.")
    for text in _texts(config):
        if "import" in text and text.startswith("$") and text not in train["imports"]:
            raise ValueError(f"{file} holds {text!r}, which imports code and is not run; {TRUST}.")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, str):
        yield value
