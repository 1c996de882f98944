"""Judge CT backbones on organs of scans that they never saw, against random weights of the same network.

    python benchmarks/abdomen_ct.py SCANS ROWS.csv RUN [RUN ...] [--draws 4]

SCANS holds images/ and labels/ of BTCV (13 organs, windowed to -125..275 HU). Five scans are the test, the same ones in
every run of this script: a pretraining that is judged here must not have seen them. From the other scans 1, 2 and 5 are
labelled, in several draws, for the solved probe of solved_probe.py on 2 x 2 x 3 mm.
"""

import argparse
import csv
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from solved_probe import (
    SolvedProbe,
    dice,
    draw_rows,
    interval,
    labelled_draw,
    labelled_transform,
    pyramid,
    run_backbone,
)
from torch import Tensor, nn

LABELS, NUM_CLASSES, NUM_TEST = (1, 2, 5), 14, 5
PER_CLASS, BACKGROUND = 1500, 12000


def test_cases(cases: Sequence[str]) -> list[str]:
    """Give the names of the scans that no pretraining may see."""
    return sorted(random.Random(0).sample(sorted(cases), NUM_TEST))


def judge(backbone: nn.Module, scans: Path, draws: int) -> dict[tuple[int, int, str], list[float]]:
    """Give the Dice of the organs by number of labels, draw and test scan."""
    transform = labelled_transform(["ct", "abdomen_ct"], {})

    def read(case: str) -> tuple[list[Tensor], Tensor]:
        sample = transform({key: str(scans / f"{key}s/{case}.nii.gz") for key in ("image", "label")})
        return pyramid(backbone, sample["image"].as_tensor()), sample["label"][0].as_tensor().long()

    names = [path.name.removesuffix(".nii.gz") for path in sorted((scans / "images").glob("*.nii.gz"))]
    test = test_cases(names)
    drawn = [labelled_draw([name for name in names if name not in test], draw, max(LABELS)) for draw in range(draws)]
    rows = {
        case: draw_rows(*read(case), PER_CLASS, BACKGROUND, seed=number)
        for number, case in enumerate(sorted({case for cases in drawn for case in cases}))
    }
    probes = {
        (labels, draw): SolvedProbe([rows[case] for case in cases[:labels]], NUM_CLASSES)
        for draw, cases in enumerate(drawn)
        for labels in LABELS
    }
    results = {}
    for case in test:
        levels, truth = read(case)
        for (labels, draw), probe in probes.items():
            results[labels, draw, case] = dice(probe.segment(levels), truth, NUM_CLASSES)
    return results


def table(name: str, rows: dict[tuple[int, int, str], list[float]]) -> dict[int, np.ndarray]:
    """Give the mean Dice of the organs by number of labels, as ``(draws, cases)``."""
    means = {key: np.nanmean(values) for key, values in rows.items()}
    draws, cases = sorted({key[1] for key in rows}), sorted({key[2] for key in rows})
    result = {n: np.array([[means[n, draw, case] for case in cases] for draw in draws]) for n in LABELS}
    print(name, *(f"{n} labelled: {result[n].mean():.3f}" for n in LABELS), sep="  ")
    return result


def main(scans: Path, out: Path, runs: Sequence[Path], draws: int) -> None:
    """Append the rows of random weights and of every run to a file, and print means and differences."""
    torch.set_num_threads(1)
    backbones = {"random": run_backbone(runs[0], trained=False)}
    backbones |= {run.name: run_backbone(run, trained=True) for run in runs}
    tables = {}
    for name, backbone in backbones.items():
        rows = judge(backbone, scans, draws)
        with out.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([name, *key, *(f"{d:.4f}" for d in values)] for key, values in rows.items())
        tables[name] = table(name, rows)
        for labels in LABELS if name != "random" else ():
            difference = tables[name][labels] - tables["random"][labels]
            low, high = interval(difference)
            print(f"  {labels} labelled: {difference.mean():+.3f} ({low:+.3f} to {high:+.3f})", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=4)
    main(**vars(parser.parse_args()))
