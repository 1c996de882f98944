"""What can be checked quickly in a packed bundle before anyone else loads it."""

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from medssl.packaging.inference_config import build_network
from medssl.packaging.metadata import REQUIRED_KEYS
from medssl.packaging.weights import SCRIPT_TOLERANCE, load_strictly, load_weights, script_error
from medssl.transforms.save import check_labels

_FILES = (
    "LICENSE",
    "configs/inference.json",
    "configs/logging.conf",
    "configs/metadata.json",
    "docs/README.md",
    "models/model.pt",
    "models/model.ts",
    "provenance.json",
)
_CONFIG_KEYS = ("bundle_root", "device", "dataset_dir", "dataset", "evaluator", "network_def", "inferer", "run")
_SEMANTIC_VERSION = re.compile(r"\d+\.\d+\.\d+")


def check_bundle(bundle: Path) -> list[str]:
    """Return what is wrong with a packed bundle, one sentence a fault; an empty list if nothing is.

    Checked are the files, the metadata and the labels in it, the inference configuration, and the weights: they load
    strictly into the network, which gives as many channels as the metadata say and equals its script.

    Args:
        bundle: folder of the bundle.
    """
    missing = [f"The bundle lacks {name}." for name in _FILES if not (bundle / name).is_file()]
    if missing:
        return missing
    metadata = json.loads((bundle / "configs/metadata.json").read_text(encoding="utf-8"))
    config = json.loads((bundle / "configs/inference.json").read_text(encoding="utf-8"))
    faults = [*_metadata_faults(metadata), *_config_faults(config)]
    return faults or list(_weight_faults(bundle, metadata))


def _metadata_faults(metadata: Mapping[str, Any]) -> Iterator[str]:
    missing = [key for key in REQUIRED_KEYS if key not in metadata]
    if missing:
        yield f"configs/metadata.json lacks {', '.join(missing)}."
        return
    if not _SEMANTIC_VERSION.fullmatch(metadata["version"]):
        yield f"The version must be three numbers such as 0.1.0, got '{metadata['version']}'."
    if "medssl" not in metadata["required_packages_version"]:
        yield "required_packages_version in configs/metadata.json must name medssl."
    prediction = metadata["network_data_format"]["outputs"]["pred"]
    if prediction["format"] == "segmentation":
        yield from _label_faults(prediction["channel_def"])


def _label_faults(channel_def: Mapping[str, str]) -> Iterator[str]:
    if channel_def.get("0") != "background":
        yield "channel_def must have 0 = background."
    try:
        check_labels(channel_def)
    except ValueError as error:
        yield f"channel_def in configs/metadata.json: {error}"


def _config_faults(config: Mapping[str, Any]) -> Iterator[str]:
    missing = [key for key in _CONFIG_KEYS if key not in config]
    if missing:
        yield f"configs/inference.json lacks {', '.join(missing)}."
        return
    first = config.get("handlers", [{}])[0]
    if first.get("_target_") != "CheckpointLoader" or "_disabled_" in first:
        yield "The first of the handlers in configs/inference.json must be CheckpointLoader, and always on."
    for path in _absolute_paths(config):
        yield f"configs/inference.json names '{path}', which is not part of the bundle."


def _absolute_paths(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _absolute_paths(item)
    elif isinstance(value, str) and Path(value).is_absolute():
        yield value


def _weight_faults(bundle: Path, metadata: Mapping[str, Any]) -> Iterator[str]:
    network = build_network(bundle / "configs/inference.json")
    try:
        load_strictly(network, load_weights(bundle / "models/model.pt"))
    except ValueError as error:
        yield f"models/model.pt: {error}"
        return
    io = metadata["network_data_format"]
    image, prediction = io["inputs"]["image"], io["outputs"]["pred"]
    # One voxel more than a multiple of the stride: the size at which rounding differs between levels.
    shape = (1, image["num_channels"], *(int(size.removesuffix("*n")) + 1 for size in image["spatial_shape"]))
    with torch.no_grad():
        channels = network(torch.zeros(shape)).shape[1]
    if channels != prediction["num_channels"]:
        yield f"The network gives {channels} channels, configs/metadata.json says {prediction['num_channels']}."
    labels = set(prediction["channel_def"]) - {"0"}
    if prediction["format"] == "segmentation" and len(labels) != channels:
        yield f"The network gives {channels} classes, channel_def names {len(labels)}."
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        script = torch.jit.load(bundle / "models/model.ts", map_location="cpu").eval()
    error = script_error(network, script, shape)
    if not error <= SCRIPT_TOLERANCE:
        yield f"models/model.ts differs from models/model.pt by {error:.1e}; at most {SCRIPT_TOLERANCE:.0e} is allowed."
