"""Pretrained backbones, loaded from the folder of a run, from a bundle, or by the name of shipped weights."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import TYPE_CHECKING, Any

from medssl.files import read_object
from medssl.packaging.shipped_weights import bundle_folder
from medssl.packaging.sources import source_bundles
from medssl.packaging.trust import TRUST
from medssl.workflows.config_files import setting
from medssl.workflows.recipes import merge, resolved

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

NETWORK_KEYS = ("spatial_dims", "in_channels", "base_channels", "num_levels")
_ADVICE = "give the folder of a finished pretraining run or of a pretraining bundle"
# References and levels of nesting on the way to a value.
_LONGEST_CHAIN = 50
_Folder = str | os.PathLike[str]


def load_backbone(source: _Folder, trust: bool = False) -> nn.Module:
    """A pretrained backbone: the network that a pretraining saved, with its weights, on the CPU and in evaluation mode.

    It maps images of shape ``(B, C, *spatial)`` to a pyramid of feature maps, finest first. `level_channels` and
    `strides` describe the levels. The files are read as data: a network of MONAI, torch or medssl is built from plain
    values, and nothing else in them runs. Recipes build the network themselves and load weights into it with
    `medssl.engines.weights.load_backbone`.

    Args:
        source: folder of a finished pretraining run or of a pretraining bundle, or the name of weights that come with
            medssl (`medssl weights list`).
        trust: True runs whatever the folder says: networks of other packages, and expressions.

    Raises:
        FileNotFoundError: if there is no such folder or name, or the folder holds no pretrained backbone.
        ValueError: if a file is damaged or holds code, the weights belong to another network, or it is a segmentation
            bundle.

    Example:
        >>> backbone = load_backbone("abdomen-ct")
        >>> backbone.level_channels
        (16, 32, 64, 128)
    """
    from medssl.networks.state_dicts import read_state_dict, require_fit

    folder = bundle_folder(source)
    settings = backbone_settings(folder, trust)
    path = Path(settings["backbone_weights"])
    backbone = _built(settings["backbone_def"], folder)
    weights = read_state_dict(path)
    require_fit(backbone, weights, {name: name for name in weights}, f"the backbone of {folder}", path)
    backbone.load_state_dict(weights)
    return backbone.eval()


def backbone_settings(source: _Folder, trust: bool = False) -> dict[str, Any]:
    """Settings that make a segmentation recipe use a backbone: its network, weights and method.

    Args:
        source: as in `load_backbone`.
        trust: as in `load_backbone`.

    Raises:
        FileNotFoundError: if there is no such folder or name, or the folder holds no pretrained backbone.
        ValueError: if it is another kind of bundle, a file is damaged, or the network is not a known one.
    """
    folder = bundle_folder(source)
    path, weights = _config_and_weights(folder)
    config = read_object(path, _ADVICE)
    missing = [key for key in ("backbone_def", "name") if key not in config]
    if missing:
        raise ValueError(f"{path} has no {missing[0]!r}, so it does not describe a backbone; {_ADVICE}.")
    if not weights.is_file():
        raise FileNotFoundError(f"{folder} holds no {weights.name}; {_ADVICE}.")
    names = [key for key in (*NETWORK_KEYS, "backbone_def", "name") if key in config]
    settings = _evaluated(config, names) if trust else _known({key: _plain(config, key, path) for key in names}, path)
    return {**settings, "backbone_weights": str(weights.resolve())}


def _evaluated(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Parts of a configuration with their references and expressions replaced by values."""
    from monai.bundle import ConfigParser

    parser = ConfigParser(deepcopy(dict(config)))
    return {name: resolved(parser, name) for name in names}


def _known(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Plain settings with their classes by full names; raises ValueError if one is not a known class."""
    from medssl.packaging.data_only import data_only

    definition = settings["backbone_def"]
    if not isinstance(definition, dict) or not isinstance(definition.get("_target_"), str):
        raise ValueError(f"The backbone_def of {path.parent} does not name a class under '_target_'; {_ADVICE}.")
    return data_only(settings, list(settings), path)


def _config_and_weights(folder: Path) -> tuple[Path, Path]:
    path = folder / "configs" / "train.json"
    if path.is_file():
        if read_object(folder / "provenance.json", _ADVICE).get("kind") != "pretrain":
            raise ValueError(f"{folder} is a segmentation bundle, which holds no backbone to start from; {_ADVICE}.")
        return path, folder / "models" / "model.pt"
    return folder / "config.json", folder / "backbone.pt"


def require_fitting_backbone(
    source: _Folder, backbone: Mapping[str, Any], recipe: Sequence[Path], overrides: Mapping[str, Any]
) -> None:
    """Raises ValueError if a backbone cannot take the images of a recipe, or the recipe has its own network.

    Logs a warning if it was pretrained on another modality or spacing.

    Args:
        source: of the backbone, as in `load_backbone`.
        backbone: the result of `backbone_settings`.
        recipe: files, without the settings of the backbone.
        overrides: of the user.

    Raises:
        ValueError: if the backbone takes images with other axes or channels, or the recipe has its own network.
    """
    for path in recipe:
        if path.parent == source_bundles() / "networks":
            raise ValueError(f"--with {path.stem} is a network, and --backbone has its own; leave one of them out.")
    images = {**merge(recipe, {}), **overrides}
    for key in ("spatial_dims", "in_channels"):
        if key in backbone and backbone[key] != images[key]:
            raise ValueError(
                f"The backbone of {source} takes {key}={backbone[key]}, and the data recipe has {key}={images[key]}; "
                "give the --data that it was pretrained with."
            )
    path, _ = _config_and_weights(bundle_folder(source))
    _warn_of_other_images(source, read_object(path, _ADVICE), images)


def _warn_of_other_images(source: _Folder, pretrained: Mapping[str, Any], images: Mapping[str, Any]) -> None:
    for key in ("modality", "spacing"):
        seen, given = pretrained.get(key), images.get(key)
        if None not in (seen, given) and seen != given:
            logger.warning(
                "The backbone of %s was pretrained with %s %s, and the data recipe has %s; expect less of it, or give "
                "the --data that it was pretrained with.",
                *(source, key, _words(seen), _words(given)),
            )


def _words(value: Any) -> str:
    return f"{' x '.join(map(str, value))} mm" if isinstance(value, list) else str(value)


def _plain(config: Mapping[str, Any], name: str, path: Path, seen: int = 0) -> Any:
    """A part of a configuration with its references replaced. Expressions are not run: they could be anyone's code.

    Raises:
        ValueError: if the part holds an expression, or a reference that is broken or runs in a circle.
    """
    try:
        value = setting(config, name)
    except KeyError as error:
        raise ValueError(f"{path} refers to {name!r}, which it does not define; {_ADVICE}.") from error
    if seen > _LONGEST_CHAIN:
        raise ValueError(f"{path} refers from {name!r} to itself, or is nested too deeply; {_ADVICE}.")
    if isinstance(value, dict):
        return {key: _plain(config, f"{name}::{key}", path, seen + 1) for key in value}
    if isinstance(value, list):
        return [_plain(config, f"{name}::{index}", path, seen + 1) for index in range(len(value))]
    if isinstance(value, str) and value.startswith("@"):
        return _plain(config, value[1:], path, seen + 1)
    if isinstance(value, str) and value.startswith(("$", "%")):
        raise ValueError(
            f"{path} defines the backbone by the expression {name} = {value!r}, which is not run; write its value, or "
            f"{TRUST}."
        )
    return value


def _built(definition: Any, folder: Path) -> nn.Module:
    """The network of a resolved definition, with random weights. Only classes of networks are called."""
    from torch import nn

    target = definition["_target_"]
    try:
        network = locate(target)
    except ErrorDuringImport as error:
        raise ValueError(f"The backbone of {folder}, {target}, cannot be imported: {error.value}") from error
    if not isinstance(network, type) or not issubclass(network, nn.Module):
        raise ValueError(f"The backbone of {folder}, {target}, is not a network class; install its package.")
    from monai.bundle import ConfigParser

    try:
        return ConfigParser({"backbone_def": deepcopy(definition)}).get_parsed_content("backbone_def")
    except RuntimeError as error:
        reason = error.__cause__ or error
        raise ValueError(f"The backbone_def of {folder} does not fit {target}: {reason}") from None
