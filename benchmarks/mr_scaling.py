"""How a probe of random weights fares when MR is scaled by its body, and by the percentiles of the paper.

    python benchmarks/mr_scaling.py LIST.json [--data hippocampus] [--spacing 4 4 7.5]

Labelled cases come from the training section, 1 and 5 of them in several draws; Dice is of the test section. What the
scaling leaves in the way of a linear map shows at once, without a training.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from solved_probe import SolvedProbe, dice, draw_rows, interval, labelled_draw, labelled_transform, pyramid

from medssl.data.datalist import read_datalist
from medssl.networks.fpn import FPN

SCALINGS = {"percentiles": ["mr_percentiles"], "body": []}
DRAWS = {1: 5, 5: 3}


def judge(path: Path, data: Sequence[str], spacing: Sequence[float] | None) -> dict[int, np.ndarray]:
    """Give the mean Dice of the classes by number of labels, as ``(draws, cases)``."""
    datalist = read_datalist(path)
    number_of_classes = len(datalist.labels)
    transform = labelled_transform(data, {"spacing": list(spacing)} if spacing else {})
    torch.manual_seed(0)
    backbone = FPN(spatial_dims=3, base_channels=16, num_levels=4).eval()
    cases = {case["case"]: case for section in ("training", "test") for case in datalist.section(section)}
    samples = {}

    def read(name: str) -> tuple[list[torch.Tensor], torch.Tensor]:
        if name not in samples:
            sample = transform({key: cases[name][key] for key in ("image", "label")})
            levels = [level.half() for level in pyramid(backbone, sample["image"].as_tensor())]
            samples[name] = levels, sample["label"][0].as_tensor().long()
        levels, label = samples[name]
        return [level.float() for level in levels], label

    results = {}
    for labels, draws in DRAWS.items():
        results[labels] = []
        for draw in range(draws):
            drawn = labelled_draw([case["case"] for case in datalist.section("training")], draw, labels)
            rows = [draw_rows(*read(name), 1500, 8000, seed=draw) for name in drawn]
            probe = SolvedProbe(rows, number_of_classes, steps=100)
            test = [read(case["case"]) for case in datalist.section("test")]
            found = [np.nanmean(dice(probe.segment(levels), truth, number_of_classes)) for levels, truth in test]
            results[labels].append(found)
    return {labels: np.array(found) for labels, found in results.items()}


def main(path: Path, data: Sequence[str], spacing: Sequence[float] | None) -> None:
    """Print the mean Dice under both scalings, and the difference."""
    torch.set_num_threads(1)
    found = {name: judge(path, ["mr", *layers, *data], spacing) for name, layers in SCALINGS.items()}
    for labels in DRAWS:
        means = ", ".join(f"{name} {result[labels].mean():.3f}" for name, result in found.items())
        difference = found["body"][labels] - found["percentiles"][labels]
        low, high = interval(difference)
        print(
            f"{labels} labelled: {means}, difference {difference.mean():+.3f} ({low:+.3f} to {high:+.3f})", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--spacing", type=float, nargs=3)
    main(**vars(parser.parse_args()))
