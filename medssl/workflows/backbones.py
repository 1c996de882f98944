"""Where a pretrained backbone comes from: the folder of a run, or a bundle."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medssl.packaging.sources import source_bundles
from medssl.runs.folder import read_config
from medssl.workflows.recipes import merge, resolved

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


def require_fitting_backbone(
    folder: Path, backbone: Mapping[str, Any], recipe: Sequence[Path], overrides: Mapping[str, Any]
) -> None:
    """Return nothing if a backbone takes the images of a segmentation recipe, and no other network is in it.

    Args:
        folder: of the backbone, for the message.
        backbone: as `backbone_settings` gives it.
        recipe: files, without the settings of the backbone.
        overrides: of the user.

    Raises:
        ValueError: if the backbone takes images of other axes or channels, or the recipe brings a network.
    """
    for path in recipe:
        if path.parent == source_bundles() / "networks":
            raise ValueError(f"--with {path.stem} is a network, and --backbone brings its own; leave one of them out.")
    images = {**merge(recipe, {}), **overrides}
    for key in ("spatial_dims", "in_channels"):
        if key in backbone and backbone[key] != images[key]:
            raise ValueError(
                f"The backbone of {folder} takes {key}={backbone[key]}, and the data recipe has {key}={images[key]}; "
                "give the --data that it was pretrained with."
            )


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
