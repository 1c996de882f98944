"""Which backbone and which preprocessing suit a set of scans."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medssl.advice.measures import StructureMeasures
from medssl.advice.rules import Advised, Scans, advised_levels, advised_patch, advised_spacing
from medssl.files import read_object
from medssl.packaging.data_only import data_only
from medssl.packaging.references import references
from medssl.packaging.shipped_weights import bundle_folder
from medssl.workflows.recipes import find_recipe, merge
from medssl.workflows.segment_facts import ScanFacts
from medssl.workflows.sizes import require_sizes
from medssl.workflows.suiting_weights import suiting_weights

# Without a backbone: the width of the network that two CPU cores take in a short time.
_CHANNELS = 16
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
        advice: settings that follow from the structures, with their reasons, where it starts from random weights.
    """

    source: str | None
    reason: str
    data: dict[str, Any]
    network: dict[str, Any]
    trust: bool = False
    advice: Mapping[str, Advised] = {}

    @property
    def name(self) -> str:
        """What a report calls it."""
        return "random weights" if self.source is None else Path(self.source).name

    @property
    def channels(self) -> int:
        """Channels of the finest level."""
        if self.source is None:
            return _CHANNELS
        return int(_config(bundle_folder(self.source)).get("base_channels", 32))


def choose_backbone(
    given: str | None,
    modality: str,
    scans: Sequence[ScanFacts],
    structures: Callable[[], Mapping[str, StructureMeasures]],
    trust: bool = False,
    channels: Sequence[str] = (),
) -> Backbone:
    """Choose what to start from: what is given, else shipped weights that suit the scans, else random weights.

    Which weights suit is said in `medssl.workflows.suiting_weights.suiting_weights`.

    Args:
        given: folder of a pretraining run or bundle, or the name of shipped weights; None chooses.
        modality: of the scans.
        scans: that can be used.
        structures: measures the structures of the labels, by name; only called where random weights are chosen, whose
            spacing, patches and levels follow the structures.
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
    best = suiting_weights(modality, spacing, extent) if not channels else None
    if best is not None:
        mm = " x ".join(f"{size:g}" for size in best.spacing)
        reason = f"{best.name}: weights that come with medssl, pretrained on {modality} of {mm} mm, which suit."
        return Backbone(best.name, reason, _data_of(_config(best.folder)), {})
    reason = f"random weights: no weights that come with medssl suit {modality} of this voxel size and field of view."
    if channels:
        reason = f"random weights: no weights that come with medssl take {count} channels."
    advice = _advice(structures(), Scans(tuple(spacing.tolist()), tuple(extent.tolist())))
    data = _data_without_backbone(modality, scans) | {key: advice[key].value for key in ("spacing", "patch_size")}
    network = {"base_channels": _CHANNELS, "num_levels": advice["num_levels"].value}
    return Backbone(None, reason, data | of_channels, network, advice=advice)


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


def _advice(structures: Mapping[str, StructureMeasures], scans: Scans) -> dict[str, Advised]:
    spacing = advised_spacing(structures, scans)
    return {
        "spacing": spacing,
        "patch_size": advised_patch(structures, scans, spacing.value),
        "num_levels": advised_levels(structures, scans, spacing.value),
    }


def _data_without_backbone(modality: str, scans: Sequence[ScanFacts]) -> dict[str, Any]:
    """Return the data recipe of a modality, for CT that was cut to a window with that window."""
    data = merge([find_recipe("segmentation/configs", "train"), find_recipe("data", modality.lower())], {})
    data = _data_of(data)
    low = float(np.median([facts.low for facts in scans]))
    if modality == "CT" and low > _CUT_AIR:
        high = float(np.median([facts.high for facts in scans]))
        data |= {"hu_window": [low, high], "body_threshold": low + _ABOVE_AIR}
    return data


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
