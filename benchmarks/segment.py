"""Judge `medssl segment` itself: several draws of labelled scans, all test cases, with other minutes or settings.

    python benchmarks/segment.py LIST.json --labels 1 2 --draws 5 --minutes 0 10 --out runs/segment
    python benchmarks/segment.py LIST.json --labels 1 --minutes 10 --backbone RUN --out runs/segment

The labelled scans are drawn from the training cases; the other ones and the test cases are scans to segment, as a user
has them, and the test cases are judged on their own grids. With --minutes 0 nothing is carried or fine-tuned, so that
the probe alone is judged. A draw that was judged is kept. The rows and their report are below --out.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from medssl.data.datalist import Datalist, load_few_labels, load_section, read_datalist, write_datalist
from medssl.evaluation.metrics import case_rows, write_rows
from medssl.evaluation.report import report
from medssl.workflows.segment import segment_scans


def drawn(datalist: Path, labels: int, draw: int, file: Path) -> Path:
    """Write a list in which some of the training cases are labelled, and all other cases are not."""
    listed = read_datalist(datalist)
    labelled = load_few_labels(datalist, "training", labels, draw)
    names = {case["case"] for case in labelled}
    others = load_section(datalist, "training") + load_section(datalist, "test")
    unlabelled = [{"case": case["case"], "image": case["image"]} for case in others if case["case"] not in names]
    sections = {"training": tuple(map(dict, labelled)), "unlabeled": tuple(unlabelled)}
    write_datalist(Datalist(listed.name, listed.modality, listed.labels, sections), file)
    return file


def judged(datalist: Path, segmentations: Path, **identity: Any) -> Iterator[dict[str, Any]]:
    """Yield a row for every test case and class."""
    names = {int(value): name for value, name in read_datalist(datalist).labels.items()}
    for case in load_section(datalist, "test"):
        wanted = nib.load(case["label"])
        found = np.asarray(nib.load(segmentations / f"{case['case']}.nii.gz").dataobj).astype(np.uint8)
        label = np.rint(np.asarray(wanted.dataobj)).astype(np.uint8)
        yield from case_rows(found, label, wanted.header.get_zooms()[:3], names, case=case["case"], **identity)


def segmented(options: argparse.Namespace, labels: int, draw: int, minutes: float) -> list[dict[str, Any]]:
    """Return the rows of one call of the command, which are kept."""
    method = f"{options.name} {minutes:g} min"
    folder = options.out / f"{method.replace(' ', '-')}-{labels}-{draw}"
    rows = folder / "rows.jsonl"
    if not rows.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        file = drawn(options.datalist, labels, draw, folder / "list.json")
        begin, cpu = time.monotonic(), time.process_time()
        segment_scans(file, None, folder / "out", minutes, options.backbone)
        seconds = {"seconds": time.monotonic() - begin, "processor_seconds": time.process_time() - cpu}
        (folder / "time.json").write_text(json.dumps(seconds), encoding="utf-8")
        identity = {"method": method, "setting": "segment", "labels": labels, "fold": draw}
        write_rows(rows, list(judged(options.datalist, folder / "out" / "segmentations", **identity)))
    found = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    known = [row["dice"] for row in found if row["dice"] is not None]
    print(f"{method}, {labels} labelled, draw {draw}: {np.mean(known):.3f}", flush=True)
    return found


def main(options: argparse.Namespace) -> None:
    """Segment with all draws, and write the rows and the report."""
    for minutes in options.minutes:
        for labels in options.labels:
            for draw in range(options.draws):
                segmented(options, labels, draw, minutes)
    files = sorted(options.out.glob("*/rows.jsonl"))
    print(f"Report: {report(files, options.out / 'report')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datalist", type=Path)
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0])
    parser.add_argument("--backbone", help="as of medssl segment")
    parser.add_argument("--name", default="segment", help="of the rows")
    parser.add_argument("--out", type=Path, required=True)
    main(parser.parse_args())
