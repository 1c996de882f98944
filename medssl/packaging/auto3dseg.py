"""A run as a model of the 3D Slicer extension MONAIAuto3DSeg, which knows MONAI but not medssl."""

import csv
import io
import json
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.transforms import (
    Activationsd,
    CropForegroundd,
    EnsureChannelFirstd,
    EnsureTyped,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    ScaleIntensityRanged,
    Spacingd,
)
from torch import Tensor, nn

from medssl.files import read_object, replacing
from medssl.networks.state_dicts import read_weights
from medssl.packaging.data_only import data_only
from medssl.packaging.inference_config import build_network
from medssl.packaging.weights import load_strictly
from medssl.runs.record import read_run_record
from medssl.transforms.anatomy import anatomy_term
from medssl.transforms.save import check_labels

# The script of the extension treats files with these names differently.
_SPECIAL_NAMES = ("brats", "kits23", "whole-head")
_CODES = ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")
_SEQUENCES = (
    "SegmentedPropertyCategoryCodeSequence",
    "SegmentedPropertyTypeCodeSequence",
    "SegmentedPropertyTypeModifierCodeSequence",
    "AnatomicRegionSequence",
    "AnatomicRegionModifierSequence",
)
_CATEGORY = ("SCT", "123037004", "Anatomical Structure")


def export_auto3dseg(
    run_dir: str | os.PathLike[str], name: str, output_dir: str | os.PathLike[str], version: str = "0.1.0"
) -> Path:
    """Return ``NAME-vVERSION.zip``, which the extension unpacks into ``~/.MONAIAuto3DSeg/models/NAME-vVERSION``.

    It holds ``model.pt`` (configuration, weights, epoch, mean Dice of the evaluation, 0 without one) and ``labels.csv``
    (label values, names, SNOMED CT codes). The extension takes the class of the highest of K + 1 logits, medssl the
    highest of K if that exceeds 0: the same with a background logit of 0, which is put before the others.

    The extension brings labels back to the scan's grid, medssl logits, and it leaves scans as they are whose spacing is
    within a quarter of the network's; so borders of structures can differ from those of `medssl pack`.

    Args:
        run_dir: folder of a finished run of a stock MONAI network in 3D, with the preprocessing of the extension:
            ``medssl finetune --with stock_network --data ct --data auto3dseg_ct``.
        name: name of the model.
        output_dir: folder that gets the zip.
        version: three numbers.

    Raises:
        FileNotFoundError: if the run folder lacks a file.
        FileExistsError: if there is such a zip already.
        ValueError: if the run has not finished, or the extension does not have its network or preprocessing.
    """
    run = Path(run_dir)
    _require_names(name, version)
    record = read_run_record(run)
    if record["kind"] != "segmentation" or not record["finished"]:
        raise ValueError(
            f"{run} is not a finished segmentation run; train one with `medssl finetune --with stock_network`."
        )
    target = Path(output_dir) / f"{name}-v{version}.zip"
    if target.exists():
        raise FileExistsError(f"{target} exists; choose another version or name.")
    config = read_object(run / "config.json")
    image_transforms = data_only(config, ["image_transforms"], run / "config.json")
    labels = check_labels(config["class_names"])
    weights = read_weights(run / "model.pt")
    network = stock_network(config)
    settings = {
        "bundle_root": name,
        "network": {**network, "out_channels": len(labels) + 1},
        "roi_size": list(config["patch_size"]),
        "sigmoid": False,
        **preprocessing_settings(ConfigParser(image_transforms).get_parsed_content("image_transforms")),
    }
    checkpoint = {
        "config": settings,
        "state_dict": add_background(
            build_network(config, file=run / "config.json"), weights, settings["network"], run / "model.pt"
        ),
        "epoch": int(config["max_epochs"]),
        "best_metric": _mean_dice(run / "rows.jsonl"),
    }
    model = io.BytesIO()
    torch.save(checkpoint, model)
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.pt", model.getvalue())
        archive.writestr("labels.csv", label_table(labels))
    return target


def _require_names(name: str, version: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) or any(part in name for part in _SPECIAL_NAMES):
        raise ValueError(
            f"'{name}' cannot name a model; use letters, digits, '_' and '-', and none of {', '.join(_SPECIAL_NAMES)}, "
            "which MONAIAuto3DSeg treats differently."
        )
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ValueError(f"The version must be three numbers such as 0.1.0, got '{version}'.")


def stock_network(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the network of a run as a configuration without references: ``_target_`` of MONAI and plain arguments.

    Args:
        config: configuration of the run.

    Raises:
        ValueError: if the network is not MONAI's, is not made of plain arguments, or is not 3D with one input channel.

    Example:
        >>> stock_network({"k": 2, "network_def": {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1,
        ...     "out_channels": "@k", "channels": [4, 8], "strides": [2]}})["out_channels"]
        2
    """
    parser = ConfigParser(data_only(config, ["network_def"], Path("config.json")))
    network = {
        key: value if key == "_target_" else parser.get_parsed_content(f"network_def::{key}")
        for key, value in config["network_def"].items()
    }
    found = type(parser.get_parsed_content("network_def"))
    if not found.__module__.startswith("monai."):
        raise ValueError(
            f"The network is {found.__module__}.{found.__name__}, which MONAIAuto3DSeg cannot build: it runs in the "
            "Python of 3D Slicer, without medssl. Train one of MONAI (`medssl finetune --with stock_network`), or "
            "serve the bundle of `medssl pack` with MONAI Label."
        )
    try:
        plain: dict[str, Any] = json.loads(json.dumps(network))
    except TypeError as error:
        raise ValueError(f"network_def must have plain arguments only, got {network}.") from error
    dims, channels = plain.get("spatial_dims", 3), plain.get("in_channels", 1)
    if (dims, channels) != (3, 1) or "out_channels" not in plain:
        raise ValueError(
            f"MONAIAuto3DSeg runs networks with spatial_dims 3, in_channels 1 and out_channels, got {plain}."
        )
    return plain


def preprocessing_settings(transforms: Sequence[Any]) -> dict[str, Any]:
    """Return the preprocessing as settings of the extension: how it scales, reorients and resamples a scan.

    The extension scales the intensities of the whole scan first, then reorients and resamples it. A crop after the
    scaling does not change what the network sees of the rest.

    Args:
        transforms: of the run, built.

    Raises:
        ValueError: naming the transform that the extension lacks.
    """
    rest = [item for item in transforms if not isinstance(item, LoadImaged | EnsureChannelFirstd | EnsureTyped)]
    mode, bounds, used = "none", [0.0, 1.0], 0
    if rest and isinstance(rest[0], NormalizeIntensityd):
        own = rest[0].normalizer
        if own.nonzero and own.channel_wise and own.subtrahend is None and own.divisor is None:
            mode, used = "meanstd", 1
    elif len(rest) > 1 and isinstance(rest[0], ScaleIntensityRanged) and isinstance(rest[1], Activationsd):
        scaler = rest[0].scaler
        if (scaler.b_min, scaler.b_max, scaler.clip) == (-1, 1, False) and all(rest[1].sigmoid):
            mode, bounds, used = "ct", [float(scaler.a_min), float(scaler.a_max)], 2
    settings: dict[str, Any] = {"normalize_mode": mode, "intensity_bounds": bounds, "crop_foreground": False}
    for item in rest[used:]:
        if isinstance(item, Orientationd) and item.ornt_transform.axcodes == "RAS":
            settings["orientation_ras"] = True
        elif isinstance(item, Spacingd):
            settings["resample_resolution"] = [float(size) for size in item.spacing_transform.pixdim]
        elif not isinstance(item, CropForegroundd):
            raise ValueError(
                f"The run's preprocessing has {type(item).__name__}, which MONAIAuto3DSeg does not have there; train "
                "with --data auto3dseg_ct after ct, or --data auto3dseg_mr after mr."
            )
    return settings


def add_background(
    network: nn.Module, weights: Mapping[str, Tensor], wider: Mapping[str, Any], path: Path
) -> dict[str, Tensor]:
    """Return the weights of a network with one more output, before the others, that is 0 everywhere.

    Args:
        network: with K outputs; gets the weights.
        weights: of the network.
        wider: configuration of the same network with K + 1 outputs.
        path: of the weights, for messages.

    Raises:
        ValueError: if the outputs of the two networks differ.
    """
    load_strictly(network, weights, path)
    larger: nn.Module = ConfigParser(dict(wider)).get_parsed_content()
    shapes = {name: value.shape for name, value in larger.state_dict().items()}
    state = {}
    for name, value in weights.items():
        gained = shapes[name][0] - value.shape[0] if value.ndim else 0
        state[name] = torch.cat([value.new_zeros(gained, *value.shape[1:]), value]) if gained > 0 else value
    problem = f"{wider['_target_']} cannot be given a background output; use SegResNet."
    try:
        load_strictly(larger, state, path)
    except ValueError as error:
        raise ValueError(problem) from error
    image = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own, logits = network.eval()(image), larger.eval()(image)
    if not torch.equal(logits[:, :1], torch.zeros_like(logits[:, :1])) or not torch.allclose(logits[:, 1:], own):
        raise ValueError(problem)
    return state


def label_table(labels: Mapping[int, str]) -> str:
    """Return ``labels.csv``: one row per label, with value, name and the SNOMED CT codes of known anatomy.

    Args:
        labels: label value to name.

    Example:
        >>> label_table({1: "liver"}).splitlines()[1].split(",")[:8]
        ['1', 'liver', 'SCT', '123037004', 'Anatomical Structure', 'SCT', '10200004', 'Liver']
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["LabelValue", "Name", *(f"{sequence}.{code}" for sequence in _SEQUENCES for code in _CODES)])
    for value, name in labels.items():
        term = anatomy_term(name)
        codes = [tuple(part.split("^")) for part in term.split("~")[1:4]] if term else [_CATEGORY, ("",) * 3, ("",) * 3]
        empty = ("",) * 3
        table.writerow([value, name, *(part for code in (*codes, empty, empty) for part in code)])
    return text.getvalue()


def _mean_dice(rows: Path) -> float:
    if not rows.is_file():
        return 0.0
    lines = rows.read_text(encoding="utf-8").splitlines()
    dice = [row["dice"] for row in map(json.loads, filter(None, lines)) if row["dice"] is not None]
    return sum(dice) / len(dice) if dice else 0.0
