"""What can be checked quickly in a packed bundle before anyone else loads it."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle.properties import InferProperties, TrainProperties
from torch import nn

from medssl.files import file_sha256, read_object
from medssl.networks.backbone import backbone_of
from medssl.networks.state_dicts import read_weights
from medssl.packaging.checks.config_faults import config_faults, transform_faults
from medssl.packaging.checks.metadata_faults import metadata_faults
from medssl.packaging.checks.workflow_faults import workflow_faults
from medssl.packaging.data_only import data_only
from medssl.packaging.inference_config import build_network, innermost
from medssl.packaging.weights import SCRIPT_TOLERANCE, load_strictly, script_error

_METADATA, _INFERENCE, _TRAIN = "configs/metadata.json", "configs/inference.json", "configs/train.json"
# Of the configuration of inference.
_BUILT = ("network_def", "preprocessing", "postprocessing", "patch_size", "overlap", "growth_stride")
_PROVENANCE, _WEIGHTS, _SCRIPT = "provenance.json", "models/model.pt", "models/model.ts"
_FILES = (
    *("LICENSE", _INFERENCE, "configs/logging.conf", _METADATA, _TRAIN),
    *("docs/README.md", _WEIGHTS, _SCRIPT, _PROVENANCE),
)


def check_bundle(bundle: Path, trust: bool = False) -> list[str]:
    """Return what is wrong with a packed bundle, one sentence per fault; an empty list if nothing is.

    Checks the files, the metadata with its labels, the inference and the train configuration, and the weights: they
    must load strictly into the network, which must give as many channels as the metadata say and equal its script.

    Args:
        bundle: folder of the bundle.
        trust: True builds whatever the configuration says, and runs the script, which is a program. Else the
            configuration is read as data, a part that could run code is a fault, and the script is not opened.
    """
    faults = list(_file_faults(bundle))
    if faults:
        return faults
    try:
        metadata, inference, train, provenance = (
            _read_object(bundle / name) for name in (_METADATA, _INFERENCE, _TRAIN, _PROVENANCE)
        )
    except ValueError as error:
        return [str(error)]
    faults = list(metadata_faults(metadata))
    faults += config_faults(inference, list(_object(metadata, "required_packages_version")))
    for content, properties, name in (
        (inference, InferProperties, _INFERENCE),
        (train, TrainProperties, _TRAIN),
    ):
        faults += [fault for fault in workflow_faults(content, properties, name) if fault not in faults]
    faults += _code_faults(inference, bundle / _INFERENCE, trust)
    if faults:
        return faults
    segments = metadata["network_data_format"]["outputs"]["pred"]["format"] == "segmentation"
    if segments and "segmentation" not in bundle.name:
        faults.append(f"The folder {bundle.name} must have 'segmentation' in its name, by which MONAI Label knows it.")
    try:
        faults += transform_faults(inference, segments, trust)
    except Exception as error:  # a foreign configuration can raise anything
        faults.append(f"{_INFERENCE}: the transforms cannot be built: {innermost(error)}")
    return [*faults, *_weight_faults(bundle, metadata, trust), *_hash_faults(bundle, provenance)]


def _code_faults(inference: Mapping[str, Any], path: Path, trust: bool) -> Iterator[str]:
    try:
        data_only(inference, [name for name in _BUILT if name in inference], path, trust)
    except ValueError as error:
        yield str(error)


def _file_faults(bundle: Path) -> Iterator[str]:
    for name in _FILES:
        if not (bundle / name).is_file():
            yield f"The bundle lacks {name}."
    for path in sorted(bundle.rglob("*")):
        if path.is_symlink():
            yield f"{path.relative_to(bundle)} is a link; put the file itself there."
    if (bundle / "scripts").exists():
        yield "The bundle has a folder scripts, which MONAI finds from within the bundle only; install it as a package."
    for path in sorted((bundle / "models").glob("*.pt")):
        if path.name != "model.pt":
            yield f"models/{path.name} would be offered by MONAI Label and loaded with random gaps; remove it."


def _read_object(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file.

    Raises:
        ValueError: if it is not an object, or a name occurs twice in one of its objects: readers would drop one.
    """
    name = f"{path.parent.name}/{path.name}" if path.parent.name == "configs" else path.name

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        twice = [key for key in content if [name for name, _ in pairs].count(key) > 1]
        if twice:
            raise ValueError(f"the name '{twice[0]}' occurs twice in one object")
        return content

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} must hold a JSON object.")
    return content


def _object(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    return value if isinstance(value, Mapping) else {}


def _weight_faults(bundle: Path, metadata: Mapping[str, Any], trust: bool) -> Iterator[str]:
    try:
        network = build_network(read_object(bundle / _INFERENCE), trust, Path(_INFERENCE))
    except ValueError as error:
        yield str(error)
        return
    try:
        load_strictly(network, read_weights(bundle / _WEIGHTS), bundle / _WEIGHTS)
    except ValueError as error:
        yield str(error)
        return
    try:
        yield from _output_faults(network, metadata)
        if trust:
            yield from _script_faults(bundle / _SCRIPT, network, metadata)
    except (RuntimeError, ValueError) as error:
        yield f"The network does not take what network_data_format.inputs in {_METADATA} says: {innermost(error)}"


def _output_faults(network: nn.Module, metadata: Mapping[str, Any]) -> Iterator[str]:
    prediction = metadata["network_data_format"]["outputs"]["pred"]
    with torch.no_grad():
        channels = network(torch.zeros(_image_shape(metadata, network))).shape[1]
    if channels != prediction["num_channels"]:
        yield f"The network gives {channels} channels, {_METADATA} says {prediction['num_channels']}."
    labels = set(prediction.get("channel_def", {})) - {"0"}
    if prediction["format"] == "segmentation" and len(labels) != channels:
        yield f"The network gives {channels} classes, channel_def names {len(labels)}."


def _script_faults(path: Path, network: nn.Module, metadata: Mapping[str, Any]) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
            script = torch.jit.load(path, map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as error:
        yield f"{_SCRIPT} cannot be read as TorchScript: {innermost(error)}"
        return
    error = script_error(network, script, _image_shape(metadata, network))
    if not error <= SCRIPT_TOLERANCE:
        yield f"{_SCRIPT} differs from {_WEIGHTS} by {error:.1e}; at most {SCRIPT_TOLERANCE:.0e} is allowed."


def _image_shape(metadata: Mapping[str, Any], network: nn.Module) -> tuple[int, ...]:
    image = metadata["network_data_format"]["inputs"]["image"]
    return (1, image["num_channels"], *_sizes(image["spatial_shape"], network))


def _sizes(spatial_shape: Sequence[Any], network: nn.Module) -> list[int]:
    sizes = [int(str(size).removesuffix("*n")) for size in spatial_shape]
    # A pyramid takes one voxel more than a multiple of its stride too: the size at which rounding differs by level.
    return [size + 1 for size in sizes] if backbone_of(network) is not None else sizes


def _hash_faults(bundle: Path, provenance: Mapping[str, Any]) -> Iterator[str]:
    for name, sha256 in _object(provenance, "sha256").items():
        path = bundle / "models" / name
        if not path.is_file() or file_sha256(path) != sha256:
            yield f"models/{name} is not the file whose SHA-256 is in {_PROVENANCE}; pack the run again."
