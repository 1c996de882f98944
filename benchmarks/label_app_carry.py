"""Judge what the MONAI Label app learns, with and without labels that are carried to other scans.

    OMP_NUM_THREADS=1 python benchmarks/label_app_carry.py LIST.json --labels 1 2 --draws 5 --out runs/app

The labelled scans are drawn from the training cases, whose others are without a label to the app; the test cases are
judged on their own grids. The rows and their report are below --out, and the seconds of every training in seconds.csv.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from medssl.data.datalist import load_few_labels, load_section, read_datalist
from medssl.evaluation.metrics import case_rows, write_rows
from medssl.evaluation.report import report
from medssl.packaging.shipped_weights import bundle_folder
from medssl.workflows.labelling import Labelling
from medssl.workflows.labelling_carry import LabelledScan


def judged(labelling: Labelling, datalist: Path, **identity: Any) -> Iterator[dict[str, Any]]:
    """Yield a row for every test case and class."""
    for case in load_section(datalist, "test"):
        wanted = nib.load(case["label"])
        found = labelling.segment(Path(case["image"]))
        affine = found.affine.numpy()
        found = nib.Nifti1Image(found[0].numpy().astype(np.uint8), affine)
        to = nib.io_orientation(wanted.affine)
        found = found.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), to))
        label = np.rint(np.asarray(wanted.dataobj)).astype(np.uint8)
        spacing = wanted.header.get_zooms()[:3]
        yield from case_rows(np.asarray(found.dataobj), label, spacing, labelling.labels, case=case["case"], **identity)


def main(options: argparse.Namespace) -> None:
    """Train and judge with all draws, and write the rows and the report."""
    listed = read_datalist(options.datalist)
    labels = {int(value): name for value, name in listed.labels.items() if int(value)}
    training = {case["case"]: Path(case["image"]) for case in load_section(options.datalist, "training")}
    rows, seconds = [], []
    for number in options.labels:
        for draw in range(options.draws):
            drawn = load_few_labels(options.datalist, "training", number, draw)
            scans = [LabelledScan(case["case"], Path(case["image"]), Path(case["label"])) for case in drawn]
            others = {case: image for case, image in training.items() if case not in {scan.case for scan in scans}}
            labelling = Labelling(bundle_folder(options.bundle), options.out / f"{number}-{draw}", labels)
            for carry_to in (0, options.carry_to):
                done = labelling.train(scans, others=others, carry_to=carry_to)
                method = f"carried to {carry_to}" if carry_to else "labels alone"
                seconds.append({"method": method, "labels": number, "draw": draw, **done["seconds"]})
                identity = {"method": method, "setting": "label_app", "labels": number, "fold": draw}
                found = list(judged(labelling, options.datalist, **identity))
                mean = np.mean([row["dice"] for row in found if row["dice"] is not None])
                print(f"{method}, {number} labelled, draw {draw}: {mean:.3f}, {done['carried']}", flush=True)
                rows += found
    file = options.out / "rows.jsonl"
    write_rows(file, rows)
    with (options.out / "seconds.csv").open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, seconds[0].keys())
        writer.writeheader()
        writer.writerows(seconds)
    print(f"Report: {report([file], options.out / 'report')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datalist", type=Path)
    parser.add_argument("--bundle", default="abdomen-ct-4mm", help="folder, or a name of medssl weights list")
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--carry-to", type=int, default=6)
    parser.add_argument("--out", type=Path, required=True)
    main(parser.parse_args())
