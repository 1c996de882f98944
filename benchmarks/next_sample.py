"""Does it matter which scan is labelled next? Dice of the solved probe with 1 to 8 labels, chosen and in random order.

    OMP_NUM_THREADS=1 python benchmarks/next_sample.py LIST.json --data mr --data hippocampus --pool 24 --out runs/next

Every draw takes a pool from the training and validation cases. In it every strategy labels one scan after the other,
and so does chance; all begin with the same scan where the strategy does not choose the first itself. The Dice is
estimated from the same voxels of the test cases, with one penalty throughout, so that a fit takes about a second.
Features are computed once a scan and kept below --out.
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from probe_table import OVERLAP, Task, backbone_of, task_of

from medssl.data.datalist import load_section
from medssl.networks.heads import LinearHead
from medssl.networks.rows import LinearHeadOnRows
from medssl.probe.cache import FeatureCache
from medssl.probe.dice import head_dice
from medssl.probe.fit import L2_OF_ONE_CASE, fit_head
from medssl.probe.next_scan import confidence, farthest, mean_entropy, representative
from medssl.probe.rows import VoxelRows

NUM_LABELS = 8
LABELLED_VOXELS, ANY_VOXELS = 6000, 3000
BY_COVERAGE = {"farthest": farthest, "representative": representative}
BY_PROBE = {"entropy": lambda logits: -mean_entropy(logits), "confidence": confidence}
# Those of the rows of an evaluation that a table needs, and the scan that was labelled last.
FIELDS = ("method", "setting", "labels", "fold", "class", "dice", "chosen")


class Scan(NamedTuple):
    """What is known of a scan: rows that follow its label, and features of voxels that do not."""

    case: str
    rows: VoxelRows
    features: np.ndarray


def scans_of(task: Task, backbone: torch.nn.Module, section: str, folder: Path) -> list[Scan]:
    """Give the scans of a section with their features."""
    sizes = (task.patch_size, len(task.class_names))
    cache = FeatureCache(folder, backbone, *sizes, overlap=OVERLAP, stride=backbone.strides[-1], upsampling="linear")
    found = []
    for case in load_section(task.datalist, section):
        sample = task.preprocessing(dict(case))
        image, label = sample["image"].as_tensor(), sample["label"].as_tensor()
        rows = cache.volume(case["case"], image, label, LABELLED_VOXELS)
        anywhere = cache.volume(case["case"], image, torch.zeros_like(label), ANY_VOXELS)
        found.append(Scan(case["case"], rows, np.array(anywhere.features, dtype=np.float32)))
        print(f"  {case['case']} {tuple(image.shape[1:])}", flush=True)
    return found


class Judge:
    """Fits heads to some scans of a pool, and measures them on the test scans."""

    def __init__(self, backbone: torch.nn.Module, names: Sequence[str], test: Sequence[Scan]) -> None:
        self.backbone, self.names, self.test = backbone, names, test

    def head(self, scans: Sequence[Scan]) -> LinearHead:
        """Give a head fitted to the labels of scans."""
        channels = self.backbone.level_channels
        head = LinearHead(3, channels, len(self.names), standardize=True, upsampling="linear").eval()
        fit_head(head, {scan.case: scan.rows for scan in scans}, self.names, l2=L2_OF_ONE_CASE, tolerance=1e-3)
        return head

    def dice(self, head: LinearHead) -> float:
        """Give the mean Dice on the test scans."""
        return mean(head_dice(head, [scan.rows for scan in self.test], self.names).values())


def next_of(strategy: str, pool: Sequence[Scan], labelled: Sequence[int], head: LinearHead | None) -> int:
    """Give the scan that a strategy labels next; the scans of a pool are in random order."""
    left = [scan for scan in range(len(pool)) if scan not in labelled]
    if strategy in BY_COVERAGE:
        return BY_COVERAGE[strategy](np.stack([scan.features.mean(axis=0) for scan in pool]), labelled)
    if strategy == "random" or head is None:
        return left[0]
    measure = BY_PROBE[strategy]
    network = LinearHeadOnRows(head)
    with torch.no_grad():
        return min(left, key=lambda scan: measure(network(torch.from_numpy(pool[scan].features))))


def curve(judge: Judge, pool: Sequence[Scan], strategy: str, draw: int) -> list[dict[str, Any]]:
    """Give a row for every number of labels."""
    labelled: list[int] = []
    rows, head = [], None
    for number in range(1, min(NUM_LABELS, len(pool)) + 1):
        labelled.append(next_of(strategy, pool, labelled, head))
        head = judge.head([pool[scan] for scan in labelled])
        dice = round(judge.dice(head), 4)
        values = (strategy, "linear_probe", number, draw, "mean of all", dice, pool[labelled[-1]].case)
        rows.append(dict(zip(FIELDS, values, strict=True)))
    print(f"  {strategy} {draw}: {[row['dice'] for row in rows]}", flush=True)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Give the means and deviations over draws as Markdown."""
    numbers = sorted({int(row["labels"]) for row in rows})
    lines = [f"| Order | {' | '.join(f'{n} labelled' for n in numbers)} |", f"|---|{'---:|' * len(numbers)}"]
    for strategy in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == strategy]
        dice = [[float(row["dice"]) for row in own if int(row["labels"]) == number] for number in numbers]
        cells = " | ".join(f"{mean(values):.3f} ± {stdev(values):.3f}" for values in dice)
        lines.append(f"| {strategy}, linear probe | {cells} |")
    return "\n".join(lines)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Give the rows of an earlier call, whose curves are not computed again."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write all rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(options: argparse.Namespace) -> None:
    """Write the rows and print the table."""
    task = task_of(options.datalist, options.data, yaml.safe_load(options.settings))
    backbone = backbone_of(options.backbone, None)
    names = list(task.class_names.values())
    scans = {part: scans_of(task, backbone, part, options.out / "features") for part in ("training+validation", "test")}
    judge = Judge(backbone, names, scans["test"])
    file = options.out / "rows.csv"
    rows = read_rows(file)
    for draw in range(options.draws):
        rng = np.random.default_rng(draw)
        of_pool = rng.permutation(len(scans["training+validation"]))[: options.pool]
        pool = [scans["training+validation"][number] for number in of_pool]
        known = {row["method"] for row in rows if int(row["fold"]) == draw}
        for strategy in (name for name in options.strategies if name not in known):
            rows += curve(judge, pool, strategy, draw)
            write_rows(rows, file)
    print(table(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datalist", type=Path)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--settings", default="{}", help="of the data recipes, as YAML")
    parser.add_argument("--backbone", default="random", help="as in probe_table.py")
    parser.add_argument("--strategies", nargs="+", default=["random", *BY_COVERAGE, *BY_PROBE])
    parser.add_argument("--pool", type=int, required=True, help="scans of a draw")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    main(parser.parse_args())
