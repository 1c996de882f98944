"""The inference.json of a packed bundle: the source bundle's template with what the run decides."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from torch import nn

from medssl.files import read_object
from medssl.packaging.data_only import data_only
from medssl.packaging.references import references
from medssl.packaging.sources import source_bundles

# Settings of the template that have a default there, but follow the run where it sets them.
RUN_DECIDES = ("overlap", "window_mode", "growth_stride", "one_piece", "channel_names")
_LOADER = "medssl.scans.loading.VerifiedLoadImaged"


def inference_config(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a self-contained inference configuration for the network and the preprocessing of a run.

    Every setting that the template refers to but does not hold (``network_def``, ``image_transforms``,
    ``patch_size``, ...) is taken from the run's configuration, with everything it refers to.

    Args:
        kind: ``pretrain`` or ``segmentation``, the source bundle.
        config: configuration of the run, merged and unresolved.

    Raises:
        ValueError: if the run's configuration lacks a setting that inference needs.
    """
    path = source_bundles() / kind / "configs" / "inference.yaml"
    merged: dict[str, Any] = dict(ConfigParser.load_config_file(str(path)))
    merged.update({key: config[key] for key in RUN_DECIDES if key in config})
    waiting = list(references(merged))
    while waiting:
        key = waiting.pop()
        if key in merged:
            continue
        if key not in config:
            raise ValueError(f"The run's config.json lacks '{key}', which inference needs; was it made by medssl?")
        merged[key] = config[key]
        waiting += references(config[key])
    if merged.get("channel_names") and isinstance(merged["image_transforms"], list):
        channels = len(merged["channel_names"])
        merged["image_transforms"] = [_of_channels(step, channels) for step in merged["image_transforms"]]
    return merged


def _of_channels(step: Any, channels: int) -> Any:
    """Return a transform; one that loads scans is told their channels, as a scan may be one file with all of them."""
    is_loader = isinstance(step, Mapping) and step.get("_target_") == _LOADER
    return {**step, "in_channels": channels} if is_loader else step


def build_network(
    config: str | os.PathLike[str] | Mapping[str, Any], trust: bool = False, file: Path = Path("config.json")
) -> nn.Module:
    """Return the network of an inference configuration, with random weights, in evaluation mode.

    Args:
        config: the configuration or the path of its file.
        trust: True builds whatever the configuration says; else it is read as data, see
            `medssl.packaging.data_only.data_only`.
        file: that holds a configuration given by its content, for messages.

    Raises:
        ValueError: if it is no network, cannot be built, or is made of anything but known classes and plain values.
    """
    if not isinstance(config, Mapping):
        file, config = Path(config), read_object(config)
    parser = ConfigParser(data_only(config, ["network_def"], file, trust))
    try:
        network = parser.get_parsed_content("network_def")
    except Exception as error:  # a foreign configuration can raise anything
        raise ValueError(f"{file}: network_def cannot be built: {innermost(error)}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"{file}: network_def is no network, but {type(network).__name__}.")
    return network.eval()


def innermost(error: BaseException) -> str:
    """Return the first line of the error at the bottom of a chain, which MONAI's own errors hide."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."
