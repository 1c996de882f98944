"""The inference.json of a packed bundle: the source bundle's template with what the run decides."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver
from torch import nn

from medssl.packaging.sources import source_bundles

# Settings of the template that have a default there, but follow the run where it sets them.
_RUN_DECIDES = ("overlap", "window_mode", "growth_stride", "channel_names")


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
    merged.update({key: config[key] for key in _RUN_DECIDES if key in config})
    waiting = list(references(merged))
    while waiting:
        key = waiting.pop()
        if key in merged:
            continue
        if key not in config:
            raise ValueError(f"The run's config.json lacks '{key}', which inference needs; was it made by medssl?")
        merged[key] = config[key]
        waiting += references(config[key])
    return merged


def references(value: Any) -> Iterator[str]:
    """Yield the top-level keys that a part of a configuration refers to.

    Example:
        >>> list(references({"pixdim": "@spacing", "window": ["$@range[0]"]}))
        ['spacing', 'range']
    """
    if isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)
    elif isinstance(value, str):
        for reference in ReferenceResolver.match_refs_pattern(value):
            yield reference.split("::")[0]


def build_network(config: str | os.PathLike[str] | Mapping[str, Any]) -> nn.Module:
    """Return the network of an inference configuration, with random weights, in evaluation mode.

    Args:
        config: the configuration or the path of its file.
    """
    content = config if isinstance(config, Mapping) else ConfigParser.load_config_file(str(Path(config)))
    network: nn.Module = ConfigParser(dict(content)).get_parsed_content("network_def")
    return network.eval()
