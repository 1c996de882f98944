"""Make a finished run a MONAI bundle that others can load."""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from medssl.files import STAGING, file_sha256, read_object, staging_folder, write_json
from medssl.networks.backbone import backbone_of
from medssl.networks.position import num_coordinates
from medssl.networks.state_dicts import read_weights
from medssl.packaging.checks.preflight import check_bundle
from medssl.packaging.checks.rehearsal import rehearse
from medssl.packaging.inference_config import build_network, inference_config
from medssl.packaging.metadata import bundle_metadata
from medssl.packaging.model_card import model_card
from medssl.packaging.own_config import require_data
from medssl.packaging.sources import source_bundles
from medssl.packaging.train_config import train_config
from medssl.packaging.weights import load_strictly, script_network
from medssl.runs.record import read_run_record, without_local_paths
from medssl.transforms.save import check_labels

# Its commands are copied into a shell.
_NAME = re.compile(r"\w[\w.-]*")


def bundle_name(name: str, record: Mapping[str, Any]) -> str:
    """Return the name of a bundle, which tells MONAI Label what the bundle does.

    Args:
        name: chosen by the user.
        record: the run's record; its kind and setting decide the suffix.

    Raises:
        ValueError: if the name is not a plain folder name.

    Example:
        >>> bundle_name("btcv", {"kind": "segmentation", "setting": "linear_probe"})
        'btcv_linear_probe_segmentation'
        >>> bundle_name("my_segmentation", {"kind": "segmentation", "setting": "linear_probe"})
        'my_segmentation'
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"'{name}' cannot name a bundle; use letters, digits, '_', '-' and '.'.")
    if record["kind"] == "pretrain":
        return name if name.endswith("_pretrain") else f"{name}_pretrain"
    return name if "segmentation" in name else f"{name}_{record['setting']}_segmentation"


def pack(
    run_dir: str | os.PathLike[str],
    name: str,
    output_dir: str | os.PathLike[str] | None = None,
    zip_bundle: bool = True,
    rehearsed: bool = False,
    trust: bool = False,
) -> Path:
    """Return the folder of a self-contained bundle made from a finished run.

    The folder holds configs (metadata, inference, train, logging), models (state dict and TorchScript), the model card,
    the licence and the provenance. The bundle is made next to its destination, checked, and only then moved there.

    Args:
        run_dir: folder of a finished run.
        name: name of the bundle; completed by what the bundle does, see `bundle_name`.
        output_dir: folder that gets the bundle; by default ``bundle`` in the run folder.
        zip_bundle: True also writes ``NAME.zip`` next to the folder.
        rehearsed: True tries every MONAI command on the bundle first, see `medssl.packaging.checks.rehearsal.rehearse`.
        trust: True packs a run whatever its configuration says, and so runs what it says; else only a run whose
            inference is data and whose start is that of medssl's recipes, see `medssl.packaging.data_only.data_only`.

    Raises:
        FileNotFoundError: if the run folder lacks a file.
        FileExistsError: if there is a bundle of that name already.
        ValueError: if the run has not finished, its configuration holds code, or the bundle fails the preflight.
    """
    run = Path(run_dir)
    record = read_run_record(run)
    if not record["finished"]:
        raise ValueError(f"The run in {run} has not finished; resume it before packing.")
    full_name = bundle_name(name, record)
    target = Path(output_dir if output_dir is not None else run / "bundle") / full_name
    archive = target.with_name(f"{full_name}.zip")
    _sweep(target, archive)
    for path in (target, archive) if zip_bundle else (target,):
        if path.exists():
            raise FileExistsError(f"{path} exists; choose another name or remove it.")
    with staging_folder(target.parent, last=full_name) as staging:
        bundle = staging / full_name
        _write_bundle(bundle, run, record, trust)
        # Its configuration has been judged, and its script was written just now.
        faults = check_bundle(bundle, trust=True) or (rehearse(bundle) if rehearsed else [])
        if faults:
            raise ValueError(f"The bundle of {run} fails the preflight: {' '.join(faults)}")
        if zip_bundle:
            shutil.make_archive(str(bundle), "zip", staging, full_name)
    return target


def _sweep(target: Path, archive: Path) -> None:
    """Delete what a killed call for the same bundle left: hidden folders, and an archive without its folder."""
    for left in target.parent.glob(f"{STAGING}*/{target.name}"):
        if not target.exists():
            archive.unlink(missing_ok=True)
        shutil.rmtree(left.parent, ignore_errors=True)


def _write_bundle(bundle: Path, run: Path, record: dict[str, Any], trust: bool) -> None:
    for folder in ("configs", "models", "docs"):
        (bundle / folder).mkdir(parents=True)
    source = source_bundles() / record["kind"]
    shutil.copyfile(source / "LICENSE", bundle / "LICENSE")
    shutil.copyfile(source / "configs" / "logging.conf", bundle / "configs" / "logging.conf")

    config = read_object(run / "config.json", "give the folder of a medssl run")
    inference = inference_config(record["kind"], config)
    if not trust:
        require_data(record["kind"], config, inference, run / "config.json")
    labels = check_labels(config["class_names"]) if record["kind"] == "segmentation" else {}
    write_json(bundle / "configs" / "inference.json", inference)
    if record["kind"] == "segmentation":
        fast = ConfigParser.load_config_file(str(source / "configs" / "fast_inference.yaml"))
        write_json(bundle / "configs" / "fast_inference.json", fast)
    write_json(bundle / "configs" / "train.json", train_config(config, inference))

    network = build_network(inference, trust, run / "config.json")
    load_strictly(network, _run_weights(run, record), _weights_file(run, record))
    _write_models(bundle / "models", network)

    template = read_object(source / "configs" / "metadata.json")
    strides = _strides(network, config)
    coordinates = num_coordinates(backbone_of(network))
    in_channels = config["in_channels"] + coordinates
    channels = (in_channels, _output_channels(network, in_channels, config["spatial_dims"], 2 * strides[-1]))
    of_network = (strides, channels, config["spatial_dims"], _channel_names(config, coordinates))
    metadata = bundle_metadata(template, bundle.name, record, labels, *of_network)
    write_json(bundle / "configs" / "metadata.json", metadata)
    record = without_local_paths(record)
    sha256 = {name: file_sha256(bundle / "models" / name) for name in ("model.pt", "model.ts")}
    card = model_card(bundle.name, metadata["task"], record, labels, _read_rows(run / "rows.jsonl"), sha256)
    (bundle / "docs" / "README.md").write_text(card, encoding="utf-8")
    write_json(bundle / "provenance.json", {"name": bundle.name, **record, "sha256": sha256})


def _run_weights(run: Path, record: Mapping[str, Any]) -> dict[str, Tensor]:
    weights = read_weights(_weights_file(run, record))
    # Those of a backbone are named as in a segmentation network, so that they start one by name.
    return weights if record["kind"] == "segmentation" else {f"backbone.{name}": v for name, v in weights.items()}


def _weights_file(run: Path, record: Mapping[str, Any]) -> Path:
    return run / ("model.pt" if record["kind"] == "segmentation" else "backbone.pt")


def _write_models(folder: Path, network: nn.Module) -> None:
    torch.save(network.state_dict(), folder / "model.pt")
    script_network(network).save(str(folder / "model.ts"))


def _strides(network: nn.Module, config: Mapping[str, Any]) -> Sequence[int]:
    backbone = backbone_of(network)
    if backbone is not None:
        return backbone.strides
    if "strides" not in config:
        raise ValueError(f"{type(network).__name__} does not say its strides; set them in the recipe.")
    return config["strides"]


def _channel_names(config: Mapping[str, Any], coordinates: int) -> list[str]:
    names = list(config.get("channel_names", ()))
    if not coordinates:
        return names
    return [*(names or ["image"] * config["in_channels"]), *(f"coordinate {axis}" for axis in range(coordinates))]


def _output_channels(network: nn.Module, in_channels: int, spatial_dims: int, size: int) -> int:
    with torch.no_grad():
        output = network(torch.zeros(1, in_channels, *[size] * spatial_dims))
    return int(output.shape[1])


def _read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
