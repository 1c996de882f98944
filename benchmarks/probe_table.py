"""Judge backbones by solved probes: several draws of labelled cases, all test cases, one pass of every backbone a scan.

    python benchmarks/probe_table.py LIST.json --data mr --data hippocampus --backbones random random:1 any-mr RUN \
        --labels 1 2 5 --draws 5 --out runs/probes

The probes are those of `medssl probe`. As a frozen backbone gives a scan the same features whatever is labelled, this
computes them once for all draws and numbers of labels. Dice and distances are measured on the grid of the
preprocessing. The rows and their report are below --out.

With `--data position` the probe also knows where in the body a voxel lies, and with --copies it learns from altered
copies of the labelled scans too, as in `medssl segment`.

With --levels there are also probes of one level of the pyramid each, which show where a method puts what it learns
(level 1 is the finest). The other levels are 0 while they are fitted, and so are their weights.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import Tensor, nn

from medssl.data.datalist import load_few_labels, load_section, read_datalist
from medssl.evaluation.growing import GrowingInferer
from medssl.evaluation.metrics import case_rows, write_rows
from medssl.evaluation.report import report
from medssl.networks.heads import LinearHead
from medssl.networks.position import PositionedBackbone
from medssl.probe.cache import FeatureCache
from medssl.probe.copies import Copies
from medssl.probe.fit import fit_head
from medssl.probe.rows import VoxelRows
from medssl.workflows.backbones import backbone_settings, load_backbone
from medssl.workflows.recipes import find_recipe, merge

# What `medssl probe` has by default.
MAX_VOXELS, OVERLAP = 100_000, 0.25
FPN_16X4 = {
    "_target_": "medssl.networks.fpn.FPN",
    **{"spatial_dims": 3, "in_channels": 1, "base_channels": 16, "num_levels": 4},
}


class Task(NamedTuple):
    """What all backbones are judged on."""

    datalist: Path
    preprocessing: Compose
    patch_size: Sequence[int]
    spacing: Sequence[float]
    class_names: Mapping[int, str]
    with_position: bool
    copies: Copies


class Probe(NamedTuple):
    """A head, and what it was fitted to: how many cases, which draw of them, and which level or None for all."""

    labels: int
    draw: int
    level: int | None
    head: LinearHead


def task_of(datalist: Path, data: Sequence[str], settings: Mapping[str, Any], copies: int = 0) -> Task:
    """Give the task of a data list under data recipes and settings, such as ``{"spacing": [2, 2, 3]}``."""
    recipes = [find_recipe("segmentation/configs", name) for name in ("train", "linear_probe", "augmented_probe")]
    recipes += [find_recipe("data", name) for name in data]
    parser = ConfigParser(merge(recipes, {}, {**settings, "copies": copies}))
    names = {int(value): name for value, name in read_datalist(datalist).labels.items() if int(value)}
    return Task(
        datalist,
        Compose(parser.get_parsed_content("image_transforms")),
        *(parser.get_parsed_content(key) for key in ("patch_size", "spacing")),
        names,
        with_position="position" in data,
        copies=parser.get_parsed_content("solve::copied"),
    )


def backbone_of(name: str, like: str | None) -> nn.Module:
    """Give a run's or shipped backbone; ``random`` or ``random:SEED`` is that of `like`, or `FPN_16X4`, untrained."""
    if not name.startswith("random"):
        return load_backbone(name)
    torch.manual_seed(int(name.partition(":")[2] or 0))
    network = FPN_16X4 if like is None else backbone_settings(like)["backbone_def"]
    backbone: nn.Module = ConfigParser({"backbone_def": network}).get_parsed_content("backbone_def")
    return backbone.eval()


def fitted_probes(
    task: Task, backbone: nn.Module, labels: Sequence[int], draws: int, levels: Sequence[int | None], folder: Path
) -> list[Probe]:
    """Give the probes of all draws, numbers of labels and levels."""
    cache = FeatureCache(
        *(folder / "features", backbone, task.patch_size, len(task.class_names)),
        overlap=OVERLAP,
        stride=backbone.strides[-1],
        upsampling="linear",
    )
    probes = []
    for draw in range(draws):
        for number in labels:
            rows = {}
            for case in load_few_labels(task.datalist, "training", number, draw):
                sample = task.preprocessing(dict(case))
                voxels = (sample["image"].as_tensor(), sample["label"].as_tensor())
                num_voxels = MAX_VOXELS // number // (1 + task.copies.number)
                rows_of = task.copies.joined(partial(cache.volume, num_voxels=num_voxels))
                rows[case["case"]] = rows_of(case["case"], *voxels)
            for level in levels:
                print(f"  {number} labelled, draw {draw}, {_level_name(level)}:", end=" ", flush=True)
                probes.append(Probe(number, draw, level, fitted_head(task, backbone, rows, level)))
    return probes


def fitted_head(task: Task, backbone: nn.Module, rows: Mapping[str, VoxelRows], level: int | None) -> LinearHead:
    """Give the head that is solved on rows of all levels, or on those of one."""
    channels, names = backbone.level_channels, list(task.class_names.values())
    if level is not None:
        first = sum(channels[: level - 1])
        of_level = np.zeros(sum(channels), dtype=np.float32)
        of_level[first : first + channels[level - 1]] = 1
        rows = {case: part._replace(features=part.features * of_level) for case, part in rows.items()}
    head = LinearHead(backbone.spatial_dims, channels, len(names), standardize=True, upsampling="linear").eval()
    fit = fit_head(head, rows, names)
    print(f"L2 {fit.l2:g}, {fit.solution.num_evaluations} evaluations", flush=True)
    return head


def _level_name(level: int | None) -> str:
    return "all levels" if level is None else f"level {level}"


def judged(task: Task, backbone: nn.Module, probes: Sequence[Probe], name: str) -> Iterator[dict[str, Any]]:
    """Yield a row for every probe, test case and class."""
    windows = GrowingInferer(task.patch_size, backbone.strides[-1], OVERLAP, sw_batch_size=2)
    classes = {0: "background", **task.class_names}
    for case in load_section(task.datalist, "test"):
        sample = task.preprocessing(dict(case))
        label = sample["label"].as_tensor().long()
        image = sample["image"].as_tensor()
        with torch.inference_mode():
            logits = windows(image[None], lambda window: _all_logits(backbone, probes, window))[0]
        for probe, part in zip(probes, logits.split(len(task.class_names)), strict=True):
            highest, channel = part.max(dim=0)
            prediction = torch.where(highest > 0, channel + 1, 0)
            identity = {"setting": "linear_probe", "labels": probe.labels, "fold": probe.draw, "case": case["case"]}
            method = name if probe.level is None else f"{name}, {_level_name(probe.level)}"
            mean = float(image[0].mean())
            yield from case_rows(prediction, label, task.spacing, classes, image_mean=mean, method=method, **identity)


def _all_logits(backbone: nn.Module, probes: Sequence[Probe], window: Tensor) -> Tensor:
    pyramid = backbone(window)
    return torch.cat([probe.head(pyramid) for probe in probes], dim=1)


def main(options: argparse.Namespace) -> None:
    """Judge all backbones, and write their rows and the report."""
    task = task_of(options.datalist, options.data, yaml.safe_load(options.settings), options.copies)
    trained = next((name for name in options.backbones if not name.startswith("random")), None)
    files = []
    for name in options.backbones:
        title = Path(name).name + " + position" * task.with_position + " + copies" * (options.copies > 0)
        file = options.out / title.replace(":", "_") / "rows.jsonl"
        files.append(file)
        if file.exists():
            continue
        print(title, flush=True)
        backbone = backbone_of(name, trained)
        if task.with_position:
            backbone = PositionedBackbone(backbone).eval()
        levels = [None, *range(1, 1 + len(backbone.level_channels))] if options.levels else [None]
        probes = fitted_probes(task, backbone, options.labels, options.draws, levels, options.out)
        write_rows(file, list(judged(task, backbone, probes, title)))
    print(f"Report: {report(files, options.out / 'report')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datalist", type=Path)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--settings", default="{}", help="of the data recipes, as YAML")
    parser.add_argument("--backbones", nargs="+", required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 2, 5])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--copies", type=int, default=0, help="altered copies of every labelled scan")
    parser.add_argument("--levels", action="store_true", help="also probes of one level each")
    parser.add_argument("--out", type=Path, required=True)
    main(parser.parse_args())
