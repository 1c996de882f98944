"""Dice of solved probes over a grid of spacings and backbones, to compare what `medssl advise` says with all else.

    OMP_NUM_THREADS=1 python benchmarks/advice.py LIST --data mr --factors 1 1.5 2 3 --levels 3 4 5 --out rows.csv

A factor makes voxels at least that many times as long as the shortest edge of the list's own; longer edges stay. Dice
is that of validation cases at factor 1: the logits of coarser grids are interpolated to it. A list without validation
cases gives up its last labelled ones with `--validation`. Test cases are never read. `advice_verdict.py` judges.
"""

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from probe_table import backbone_of, task_of
from torch import Tensor, nn

from medssl.data.datalist import Datalist, load_few_labels, load_section, read_datalist, write_datalist
from medssl.data.splits import by_group
from medssl.evaluation.growing import GrowingInferer
from medssl.files import write_json
from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.ops.interpolation import interpolate
from medssl.probe.cache import FeatureCache
from medssl.probe.fit import fit_head
from medssl.scans.channels import image_files
from medssl.scans.headers import read_header
from medssl.workflows.advising import advise

# Fewer voxels and one penalty, so that hundreds of probes are solved in minutes; all settings have the same.
MAX_VOXELS, L2 = 10_000, 1e-3
FIELDS = ("data", "factor", "spacing", "backbone", "labels", "draw", "case", "class", "dice")


class Setting(NamedTuple):
    """A point of the grid: what voxels are, and what the probe reads."""

    factor: float
    spacing: tuple[float, ...]
    name: str
    backbone: Callable[[int], nn.Module]


def held_out(path: Path, count: int, folder: Path) -> Path:
    """Write a list whose test cases are gone and whose last groups of training are its validation cases."""
    listed = read_datalist(path)
    groups = by_group(listed.sections["training"])
    moved = list(groups)[len(groups) - count :]
    sections = {**listed.sections, "test": (), "unlabeled": ()}
    if count:
        sections["training"] = tuple(case for name in groups if name not in moved for case in groups[name])
        sections["validation"] = tuple(case for name in moved for case in groups[name])
    return write_datalist(replace(listed, sections=sections), folder / "list.json")


def native_spacing(listed: Datalist) -> np.ndarray:
    """Give the median spacing of the labelled scans, axes in RAS order."""
    found = []
    for case in listed.sections["training"]:
        header = read_header(image_files(case["image"])[0])
        order = np.abs(header.affine[:3, :3]).argmax(axis=1)[: listed.spatial_dims]
        found.append(np.array(header.spacing)[order])
    return np.median(found, axis=0)


def settings(options: argparse.Namespace, listed: Datalist) -> Iterator[Setting]:
    """Yield the grid, the finest spacing first."""
    native = native_spacing(listed)
    for factor in options.factors:
        spacing = tuple(np.maximum(native, factor * native.min()).round(3).tolist())
        for levels in options.levels:
            make = partial(random_network, listed.spatial_dims, options.channels, levels)
            yield Setting(factor, spacing, f"random {options.channels}x{levels}", make)
        for name in options.backbones:
            yield Setting(factor, spacing, name, lambda _, name=name: backbone_of(name, None))


def random_network(spatial_dims: int, channels: int, levels: int, draw: int) -> nn.Module:
    """Give an untrained network, another one for every draw."""
    torch.manual_seed(draw)
    return FPN(spatial_dims, 1, channels, levels).eval()


def probes(task: Any, backbone: nn.Module, numbers: Sequence[int], draw: int, folder: Path) -> dict[int, LinearHead]:
    """Give the solved head of every number of labels."""
    names, stride = list(task.class_names.values()), backbone.strides[-1]
    cache = FeatureCache(
        *(folder, backbone, task.patch_size, len(names)), overlap=0.25, stride=stride, upsampling="linear"
    )
    heads = {}
    for labels in numbers:
        rows = {}
        cases = load_few_labels(task.datalist, "training", labels, draw)
        for case in cases:
            sample = task.preprocessing(dict(case))
            voxels = (sample["image"].as_tensor(), sample["label"].as_tensor())
            rows[case["case"]] = cache.volume(case["case"], *voxels, num_voxels=MAX_VOXELS // len(cases))
        channels, dims = backbone.level_channels, backbone.spatial_dims
        heads[labels] = LinearHead(dims, channels, len(names), standardize=True, upsampling="linear").eval()
        fit_head(heads[labels], rows, names, l2=L2, max_evaluations=200, tolerance=1e-3)
    return heads


def on_grid_of(logits: Tensor, source: MetaTensor, target: MetaTensor) -> np.ndarray:
    """Interpolate logits of one preprocessed image to the voxels of another, whose axes are the same."""
    dims = source.dim() - 1
    turn = np.linalg.inv(source.affine.numpy()) @ target.affine.numpy()
    places = [
        np.clip(turn[axis, -1] + turn[axis, axis] * np.arange(size), 0, source.shape[1 + axis] - 1)
        for axis, size in zip(range(dims), target.shape[1:], strict=True)
    ]
    return np.stack([interpolate(channel, places) for channel in logits.numpy()])


def judged(
    task: Any, backbone: nn.Module, heads: dict[int, LinearHead], references: dict[str, dict]
) -> Iterator[dict[str, Any]]:
    """Yield the Dice of every probe, validation case and class."""
    windows = GrowingInferer(task.patch_size, backbone.strides[-1], 0.25)
    for case in load_section(task.datalist, "validation"):
        sample, reference = task.preprocessing(dict(case)), references[case["case"]]
        with torch.inference_mode():
            pyramid_logits = windows(sample["image"].as_tensor()[None], lambda x: all_logits(backbone, heads, x))[0]
        label = reference["label"].as_tensor()[0].numpy().round().astype(int)
        for labels, part in zip(heads, pyramid_logits.split(len(task.class_names)), strict=True):
            fine = on_grid_of(part, sample["image"], reference["image"])
            found = np.where(fine.max(axis=0) > 0, fine.argmax(axis=0) + 1, 0)
            for channel, (value, name) in enumerate(task.class_names.items(), start=1):
                wanted, own = label == value, found == channel
                if wanted.any():
                    dice = 2 * (wanted & own).sum() / (wanted.sum() + own.sum())
                    at = {"labels": labels, "case": case["case"], "class": name}
                    yield {**at, "dice": round(float(dice), 4)}


def all_logits(backbone: nn.Module, heads: dict[int, LinearHead], window: Tensor) -> Tensor:
    """Give the logits of all heads side by side."""
    pyramid = backbone(window)
    return torch.cat([head(pyramid) for head in heads.values()], dim=1)


def main(options: argparse.Namespace) -> None:
    """Write the rows of a data list."""
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, options.out.open("w", newline="", encoding="utf-8") as stream:
        folder = Path(name)
        path = held_out(options.datalist, options.validation, folder)
        listed, references = read_datalist(path), {}
        write_json(options.out.with_suffix(".json"), advise(listed).as_json())
        writer = csv.DictWriter(stream, FIELDS)
        writer.writeheader()
        for setting in settings(options, listed):
            start = time.process_time()
            task = task_of(path, options.data, {"spacing": list(setting.spacing)})
            if not references:
                cases = load_section(path, "validation")
                references = {case["case"]: task.preprocessing(dict(case)) for case in cases}
            known = {"data": listed.name, "factor": f"{setting.factor:g}", "backbone": setting.name}
            known["spacing"] = json.dumps(setting.spacing)
            rows = []
            for draw in range(options.draws):
                backbone = setting.backbone(draw)
                heads = probes(task, backbone, options.labels, draw, folder / f"{setting.factor:g} {setting.name}")
                rows += [{**known, "draw": draw, **row} for row in judged(task, backbone, heads, references)]
            writer.writerows(rows)
            stream.flush()
            dice = np.mean([row["dice"] for row in rows])
            seconds = time.process_time() - start
            print(f"{setting.factor:g} {setting.name}: {dice:.3f}, {seconds:.0f} s", flush=True)


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datalist", type=Path)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--factors", type=float, nargs="+", default=[1, 2, 3])
    parser.add_argument("--levels", type=int, nargs="*", default=[3, 4, 5])
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--backbones", nargs="*", default=[])
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--validation", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(options_of())
