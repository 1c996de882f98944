"""Make a packed pretraining bundle small enough to come with medssl."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medssl.files import file_sha256, staging_folder, write_json
from medssl.networks.state_dicts import read_weights
from medssl.packaging.loading import LoadedBundle, load_bundle

# How far half precision on disk may move a feature, as a share of the largest one.
TOLERANCE = 1e-3
_CHECKED_SIZE = 64
# Values of a tensor that is stored in half precision, at least.
_LEAST_HALVED = 30_000


def ship(bundle: Path, name: str, scans: Mapping[str, Sequence[Mapping[str, Any]]], licence: str, out: Path) -> Path:
    """A copy of a pretraining bundle with weights in half precision and without TorchScript, which doubles the size.

    Weights are float32 again once a network has loaded them. The provenance gets the licence and the hash of the new
    file, ``docs/scans.json`` the scans. The model card is copied; complete it by hand.

    Args:
        bundle: folder of a pretraining bundle, as `medssl.packaging.pack.pack` makes it.
        name: such as ``abdomen-ct``.
        scans: lists ``training`` and ``held_out`` of scans, each with its ``case`` and ``sha256_file``.
        licence: of the weights.
        out: folder that gets the copy, ``abdomen_ct``.

    Raises:
        FileExistsError: if there is a copy already.
        ValueError: if a held-out scan is among the training scans, or half precision changes the features.
    """
    target = out / name.replace("-", "_")
    if target.exists():
        raise FileExistsError(f"{target} exists; choose another name or remove it.")
    _require_held_out(scans)
    weights = read_weights(bundle / "models" / "model.pt")
    with staging_folder(out, last=target.name) as staging:
        copy = staging / target.name
        shutil.copytree(bundle, copy, ignore=shutil.ignore_patterns("model.ts"))
        torch.save({key: _halved(value) for key, value in weights.items()}, copy / "models" / "model.pt")
        error = feature_error(load_bundle(bundle), load_bundle(copy))
        if not error <= TOLERANCE:
            raise ValueError(f"Half precision changes the features of {bundle} by {error:.1e}; keep them in float32.")
        write_json(copy / "docs" / "scans.json", scans)
        sha256 = {"model.pt": file_sha256(copy / "models" / "model.pt")}
        _update(copy / "provenance.json", name=target.name, licence=licence, sha256=sha256)
        _update(copy / "configs" / "metadata.json", name=target.name)
    return target


def feature_error(expected: LoadedBundle, actual: LoadedBundle) -> float:
    """The largest difference between the features of two bundles on noise, as a share of the largest feature.

    Args:
        expected: a bundle with a backbone.
        actual: another with the same network.
    """
    size = [_CHECKED_SIZE] * expected.config["spatial_dims"]
    image = torch.rand(1, expected.config["in_channels"], *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pyramids = [bundle.network.backbone(image) for bundle in (expected, actual)]
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(*pyramids, strict=True))


def _update(path: Path, **changes: Any) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def _halved(value: Tensor) -> Tensor:
    # Vectors and the kernels of the finest levels take little space, and rounding them moves features most.
    return value.half() if value.is_floating_point() and value.numel() > _LEAST_HALVED else value


def _require_held_out(scans: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    for key in ("case", "sha256_file"):
        shared = {scan[key] for scan in scans["training"]} & {scan[key] for scan in scans["held_out"]}
        if shared:
            raise ValueError(f"Held-out scans are among the training scans ({key}: {', '.join(sorted(shared))}).")
