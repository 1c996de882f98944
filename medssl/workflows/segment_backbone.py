"""Which backbone and which preprocessing suit a set of scans."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medssl.files import read_object
from medssl.packaging.data_only import data_only
from medssl.packaging.references import references
from medssl.packaging.shipped_weights import ShippedWeights, bundle_folder, shipped_weights
from medssl.workflows.recipes import find_recipe, merge
from medssl.workflows.segment_facts import ScanFacts
from medssl.workflows.sizes import require_sizes

# Voxels may be this many times larger or smaller, along an edge, than those that a backbone was pretrained with.
_LARGEST_RATIO = 3.0
# Of the extent of its patches that a scan has at least.
_LEAST_EXTENT = 0.5
# Without a backbone: voxels of a scan and of a patch that two CPU cores take in a short time, and the network for them.
_VOXELS_OF_SCAN, _VOXELS_OF_PATCH, _STEP = 3_000_000, 98_304, 8
RANDOM_NETWORK = {"base_channels": 16, "num_levels": 4}
# Values of the air of a CT that was cut to a window.
_CUT_AIR, _ABOVE_AIR = -500.0, 15.0
# Settings of the commands, not of the data.
_OF_COMMANDS = ("keys", "interpolation")
_OF_DATA = ("modality", "spacing", "patch_size", "spatial_dims", "in_channels")
_SETTINGS = ("spacing", "patch_size", "hu_window", "percentiles", "body_threshold", "body_mean", "body_deviation")


class Backbone(NamedTuple):
    """What a network starts from.

    Attributes:
        source: folder or name, as `--backbone` takes it; None starts from random weights.
        reason: why, one sentence.
        data: the data recipe: its settings and transforms.
        network: settings of the network where it starts from random weights.
        trust: whether the folder of `source` may name classes that medssl does not know.
    """

    source: str | None
    reason: str
    data: dict[str, Any]
    network: dict[str, Any]
    trust: bool = False

    @property
    def name(self) -> str:
        """What a report calls it."""
        return "random weights" if self.source is None else Path(self.source).name

    @property
    def channels(self) -> int:
        """Channels of the finest level."""
        if self.source is None:
            return RANDOM_NETWORK["base_channels"]
        return int(_config(bundle_folder(self.source)).get("base_channels", 32))


def choose_backbone(
    given: str | None, modality: str, scans: Sequence[ScanFacts], trust: bool = False, channels: Sequence[str] = ()
) -> Backbone:
    """Choose what to start from: what is given, else shipped weights that suit the scans, else random weights.

    Of the shipped weights of the modality those suit whose voxels are at most three times as large or small as those
    of the scans, and whose patches are at most twice as large as a scan. The nearest voxel size wins.

    Args:
        given: folder of a pretraining run or bundle, or the name of shipped weights; None chooses.
        modality: of the scans.
        scans: that can be used.
        trust: True takes over whatever the transforms of `given` are; else they are read as data.
        channels: names of the channels, where scans have several.

    Raises:
        FileNotFoundError: if there is no such folder or name, or it holds no configuration.
        ValueError: if its transforms hold code, the file is damaged, or it takes another number of channels.
    """
    count = max(len(channels), 1)
    of_channels = {"in_channels": count, "channel_names": list(channels)} if channels else {}
    if given is not None:
        data = _data_of_folder(bundle_folder(given), trust)
        if data["in_channels"] != count:
            raise ValueError(
                f"The backbone {given} takes scans of {data['in_channels']} channel(s), and these have {count}; leave "
                "--backbone out, or give one that was pretrained on such scans."
            )
        return Backbone(given, f"{given}, as given.", data | of_channels, {}, trust)
    spacing = np.median([facts.spacing for facts in scans], axis=0)
    extent = np.median([facts.extent for facts in scans], axis=0)
    best = _nearest(shipped_weights(), modality, spacing, extent) if not channels else None
    if best is not None:
        mm = " x ".join(f"{size:g}" for size in best.spacing)
        reason = f"{best.name}: weights that come with medssl, pretrained on {modality} of {mm} mm, which suit."
        return Backbone(best.name, reason, _data_of(_config(best.folder)), {})
    reason = f"random weights: no weights that come with medssl suit {modality} of this voxel size and field of view."
    if channels:
        reason = f"random weights: no weights that come with medssl take {count} channels."
    data = _data_without_backbone(modality, scans, spacing, extent) | of_channels
    return Backbone(None, reason, data, RANDOM_NETWORK)


def _nearest(
    weights: Iterable[ShippedWeights], modality: str, spacing: np.ndarray, extent: np.ndarray
) -> ShippedWeights | None:
    fitting = {}
    for candidate in weights:
        ratio = abs(np.log(np.prod(spacing) / np.prod(candidate.spacing))) / 3
        patch = np.array(_config(candidate.folder)["patch_size"]) * candidate.spacing
        suits = ratio <= np.log(_LARGEST_RATIO) and bool((extent >= _LEAST_EXTENT * patch).all())
        if candidate.modality == modality and suits:
            fitting[candidate.name] = (ratio, candidate)
    return min(fitting.values(), key=lambda pair: pair[0])[1] if fitting else None


def _config_file(folder: Path) -> Path:
    for path in (folder / "configs" / "train.json", folder / "config.json"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{folder} is not the folder of a pretraining run or bundle, which --backbone takes.")


def _config(folder: Path) -> dict[str, Any]:
    return read_object(_config_file(folder))


def _data_of_folder(folder: Path, trust: bool = False) -> dict[str, Any]:
    config = _config(folder)
    missing = [key for key in (*_OF_DATA, "image_transforms") if key not in config]
    if missing:
        raise ValueError(f"{_config_file(folder)} has no {missing[0]!r}, so it does not describe a backbone.")
    data = _data_of(config)
    checked = data_only({**dict.fromkeys(_OF_COMMANDS), **data}, list(data), _config_file(folder), trust)
    return {key: checked[key] for key in data}


def _data_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data recipe in a configuration: its transforms and all that they refer to."""
    data = {key: config[key] for key in _OF_DATA}
    waiting = ["image_transforms"]
    while waiting:
        key = waiting.pop()
        if key in data or key in _OF_COMMANDS or key not in config:
            continue
        data[key] = config[key]
        waiting += references(config[key])
    return data


def _data_without_backbone(
    modality: str, scans: Sequence[ScanFacts], spacing: np.ndarray, extent: np.ndarray
) -> dict[str, Any]:
    """Return the data recipe of a modality at a spacing and with patches that suit the scans and a small machine."""
    data = merge([find_recipe("segmentation/configs", "train"), find_recipe("data", modality.lower())], {})
    data = _data_of(data)
    coarser = max(float(np.prod(extent / spacing)) / _VOXELS_OF_SCAN, 1.0) ** (1 / 3)
    data["spacing"] = [round(float(length) * coarser, 3) for length in spacing]
    data["patch_size"] = _patch_size(np.array(data["spacing"]), extent)
    low = float(np.median([facts.low for facts in scans]))
    if modality == "CT" and low > _CUT_AIR:
        high = float(np.median([facts.high for facts in scans]))
        data |= {"hu_window": [low, high], "body_threshold": low + _ABOVE_AIR}
    return data


def _patch_size(spacing: np.ndarray, extent: np.ndarray) -> list[int]:
    """Return the voxels of a patch that is about as long in mm along every axis, and no longer than a scan."""
    edge = (_VOXELS_OF_PATCH * np.prod(spacing)) ** (1 / 3)
    most = np.ceil(extent / spacing / _STEP) * _STEP
    return [
        int(size) for size in np.clip(np.rint(edge / spacing / _STEP) * _STEP, 2 * _STEP, np.maximum(most, 2 * _STEP))
    ]


def with_settings(data: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a data recipe with settings of the user.

    Raises:
        ValueError: if the recipe has no such setting, or a size is none.
    """
    unknown = [key for key in settings if key not in data or key not in _SETTINGS]
    if unknown:
        known = ", ".join(f"--{key}" for key in _SETTINGS if key in data)
        raise ValueError(f"There is no setting --{unknown[0]} for these scans; there are {known}.")
    require_sizes({**data, **settings})
    return {**data, **settings}
