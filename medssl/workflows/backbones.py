"""Where a pretrained backbone comes from: the folder of a run, or a bundle."""

import json
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medssl.workflows.recipes import read_config, resolved

NETWORK_KEYS = ("spatial_dims", "in_channels", "base_channels", "num_levels")


def backbone_settings(folder: Path) -> dict[str, Any]:
    """Give the settings of a segmentation recipe that take over a backbone: its network, its weights, its method.

    Args:
        folder: of a finished pretraining run, or of a pretraining bundle.

    Raises:
        FileNotFoundError: if the folder holds neither.
        ValueError: if it is a bundle of something else.
    """
    if (folder / "configs" / "train.json").is_file():
        config = _read_json(folder / "configs" / "train.json")
        if _read_json(folder / "provenance.json")["kind"] != "pretrain":
            raise ValueError(f"{folder} is a segmentation bundle; --backbone takes a run or bundle of a pretraining.")
        weights = folder / "models" / "model.pt"
    else:
        config = read_config(folder)
        weights = folder / "backbone.pt"
    if not weights.is_file():
        raise FileNotFoundError(f"{folder} holds no {weights.name}: it is not of a finished pretraining run.")
    settings = {key: config[key] for key in NETWORK_KEYS if key in config}
    settings["backbone_def"] = resolved(ConfigParser(config), "backbone_def")
    return {**settings, "backbone_weights": str(weights.resolve()), "name": config["name"]}


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
