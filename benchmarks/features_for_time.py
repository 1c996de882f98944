"""Judge backbones that were pretrained at the resolution of a data recipe, at half of it, or one of each together.

    OMP_NUM_THREADS=1 python benchmarks/features_for_time.py LIST.json --data ct --data abdomen_ct \
        --backbones full=random full=RUN half=OTHER full=RUN,half=OTHER --labels 1 2 --out runs/features

All heads are solved on the labels of the full grid and judged there: features at half the resolution are those of the
scan averaged over cells of two voxels along each axis, interpolated to the voxels. The Dice of a test scan is estimated
from voxels of which the labelled ones are drawn more often, as in `benchmarks/next_sample.py`; one penalty throughout.
The cases that a backbone is chosen by must be no test cases of the project: give a list whose test section is made of
others. Preprocessed scans are kept in memory; a backbone takes one to three minutes.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from probe_table import backbone_of, task_of
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.data.datalist import load_few_labels, load_section
from medssl.evaluation.metrics import FIELDS, write_rows
from medssl.evaluation.report import report
from medssl.networks.heads import LinearHead
from medssl.ops.pyramid import interpolate_voxels
from medssl.probe.choose import at_random, choose_voxels
from medssl.probe.dice import head_dice
from medssl.probe.fit import L2_OF_ONE_CASE, fit_head
from medssl.probe.rows import VoxelRows

LABELLED_VOXELS, TEST_VOXELS = 15_000, 40_000


class Scan(NamedTuple):
    """A preprocessed scan, shape ``(1, 1, *spatial)``, and its label, shape ``(*spatial,)``."""

    image: Tensor
    label: np.ndarray


class Part(NamedTuple):
    """A backbone, and whether it looks at half the resolution."""

    backbone: nn.Module
    is_half: bool

    def levels(self, image: Tensor) -> list[Tensor]:
        """Give its features of a whole scan."""
        if self.is_half:
            image = F.avg_pool3d(image, 2, ceil_mode=True, count_include_pad=False)
        with torch.inference_mode():
            return [level.half() for level in self.backbone(image)]


def parts_of(spec: str) -> list[Part]:
    """Give the backbones of a specification such as ``full=RUN,half=OTHER``."""
    parts = [part.split("=", 1) for part in spec.split(",")]
    return [Part(backbone_of(name, None).eval(), {"full": False, "half": True}[kind]) for kind, name in parts]


def title_of(spec: str) -> str:
    """Give what the table calls a specification."""
    parts = [part.split("=", 1) for part in spec.split(",")]
    return " + ".join(Path(name).name + " at half" * (kind == "half") for kind, name in parts)


def rows_of(scan: Scan, pyramids: Sequence[list[Tensor]], number: int) -> VoxelRows:
    """Give rows of a number of voxels of a scan."""
    label = scan.label
    flat, weights = choose_voxels(label, number, at_random(np.random.default_rng(0)))
    voxels = torch.from_numpy(np.insert(np.stack(np.unravel_index(flat, label.shape), axis=1), 0, 0, axis=1))
    features = [
        interpolate_voxels([level.float() for level in pyramid], voxels, label.shape, "linear") for pyramid in pyramids
    ]
    return VoxelRows(
        torch.cat(features, dim=1).numpy(), label.ravel()[flat].astype(np.int64), weights, np.array([len(flat)])
    )


def judged(
    spec: str,
    scans: Mapping[str, Scan],
    test: Sequence[str],
    draws: Mapping[tuple[int, int], Sequence[str]],
    names: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """Yield a row for every draw, number of labels, test case and class."""
    parts = parts_of(spec)
    pyramids = {case: [part.levels(scan.image) for part in parts] for case, scan in scans.items()}
    held = {case: rows_of(scans[case], pyramids[case], TEST_VOXELS) for case in test}
    channels = [size for part in parts for size in part.backbone.level_channels]
    for (draw, number), cases in draws.items():
        head = LinearHead(3, channels, len(names), standardize=True, upsampling="linear").eval()
        fit_head(
            head,
            {case: rows_of(scans[case], pyramids[case], LABELLED_VOXELS // number) for case in cases},
            names,
            l2=L2_OF_ONE_CASE,
        )
        for case, rows in held.items():
            identity = {"method": title_of(spec), "setting": "linear_probe", "labels": number, "fold": draw}
            for name, dice in head_dice(head, [rows], names).items():
                yield {**dict.fromkeys(FIELDS), **identity, "case": case, "class": name, "dice": dice}


def main(options: argparse.Namespace) -> None:
    """Judge all backbones, and write their rows and the report."""
    task = task_of(options.datalist, options.data, {})
    draws = {
        (draw, number): [case["case"] for case in load_few_labels(task.datalist, "training", number, draw)]
        for draw in range(options.draws)
        for number in options.labels
    }
    needed = {case for cases in draws.values() for case in cases}
    listed = {section: load_section(task.datalist, section) for section in ("training", "test")}
    test = [case["case"] for case in listed["test"]]
    scans = {}
    for case in (*listed["training"], *listed["test"]):
        if case["case"] in {*needed, *test}:
            sample = task.preprocessing(dict(case))
            label = sample["label"].as_tensor()[0].numpy().astype(np.uint8)
            scans[case["case"]] = Scan(sample["image"].as_tensor()[None].float(), label)
            print(f"  {case['case']} {label.shape}", flush=True)
    files = []
    for spec in options.backbones:
        files.append(options.out / title_of(spec).replace(" ", "_") / "rows.jsonl")
        if not files[-1].exists():
            write_rows(files[-1], list(judged(spec, scans, test, draws, list(task.class_names.values()))))
            print(title_of(spec), flush=True)
    print(f"Report: {report(files, options.out / 'report')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datalist", type=Path)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--backbones", nargs="+", required=True, help="full=NAME, half=NAME, or full=NAME,half=NAME")
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    main(parser.parse_args())
