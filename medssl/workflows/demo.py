"""The demonstration: from two labelled phantoms to a segmentation of the others, in a few minutes on two cores.

Weights that come with medssl, random weights and a network from scratch get the same labels. The phantoms are in no
pretraining.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from medssl.data.datalist import read_datalist
from medssl.evaluation.metrics import read_rows
from medssl.evaluation.pictures import overlay_figure
from medssl.evaluation.report import report
from medssl.packaging.pack import pack
from medssl.phantom.dataset import write_phantom
from medssl.scans.loading import VerifiedLoadImaged
from medssl.workflows.checking import check_report
from medssl.workflows.training import evaluate, train_segmentation

WEIGHTS = "abdomen-ct"
# Those of the weights.
DATA = ("ct", "abdomen_ct")
SIZE = {"base_channels": 16, "num_levels": 4}
NUM_LABELS = 2
SCRATCH = {**SIZE, "num_workers": 0, "steps_per_epoch": 10, "name": "scratch"}
# The shortest training from scratch, in minutes: the time of a probe on small scans is too short for a step.
LEAST_MINUTES = 0.1


def run_demo(output_dir: Path, console: Console) -> Path:
    """Run the demonstration, print its steps, results and files, and return the folder of the segmentation bundle.

    1. Write phantom scans and check them.
    2. Solve a linear probe on the weights that come with medssl, with two labelled scans, and evaluate it on the test
       scans.
    3. Do the same on random weights.
    4. Train the network from scratch on the same labels, as long as the first probe took.
    5. Pack the first probe as a bundle, and run every MONAI command on it.
    6. Segment a test scan with the bundle in a new process.

    Args:
        output_dir: a new or empty folder.
        console: where to print.

    Raises:
        FileExistsError: if the folder is not empty.
        ValueError: if the phantom has errors, or the bundle fails on the scan.
    """
    if output_dir.exists() and any(output_dir.iterdir()):
        raise FileExistsError(f"{output_dir} is not empty; delete it or choose another folder with --out.")
    with _step(console, "1/6 Write phantom scans and check them"):
        datalist = _write_data(output_dir / "data", console)
    runs = {name: output_dir / name for name in ("pretrained", "random", "scratch")}
    start = time.monotonic()
    with _step(console, f"2/6 Linear probe on {WEIGHTS}, the weights that come with medssl, with {NUM_LABELS} labels"):
        _train("linear_probe", datalist, runs["pretrained"], {"name": "pretrained"}, WEIGHTS)
    minutes = max((time.monotonic() - start) / 60, LEAST_MINUTES)
    with _step(console, "3/6 The same on random weights"):
        _train("linear_probe", datalist, runs["random"], {**SIZE, "name": "random"})
    with _step(console, f"4/6 The whole network from scratch for the time of step 2, {minutes * 60:.0f} s"):
        _train("from_scratch", datalist, runs["scratch"], {**SCRATCH, "minutes": minutes})
    with _step(console, "5/6 Pack the probe as a MONAI bundle and run every MONAI command on it"):
        bundle = pack(runs["pretrained"], "phantom_ct", output_dir / "bundle", rehearsed=True)
    with _step(console, "6/6 Segment a held-out scan with the bundle in a new process"):
        picture = _predict(bundle, datalist, output_dir)
    console.print(_table([run / "rows.jsonl" for run in runs.values()]))
    made = {
        "Report": report([run / "rows.jsonl" for run in runs.values()], output_dir / "report"),
        "Training curves": f"tensorboard --logdir {output_dir}",
        "Prediction": output_dir / "prediction",
        "Picture": picture,
    }
    for what, where in made.items():
        console.print(f"{what}: {where}", soft_wrap=True)
    return bundle


def _train(setting: str, datalist: Path, run: Path, settings: Mapping[str, Any], backbone: str | None = None) -> None:
    train_segmentation(setting, datalist, DATA, run, backbone=backbone, num_labels=NUM_LABELS, overrides=settings)
    evaluate(run)


@contextmanager
def _step(console: Console, title: str) -> Iterator[None]:
    console.print(f"[bold]{title}[/bold]")
    start = time.monotonic()
    yield
    console.print(f"  done in {time.monotonic() - start:.0f} s")


def _write_data(folder: Path, console: Console) -> Path:
    datalist = write_phantom(folder, modality="CT")
    lines, num_errors = check_report(datalist, DATA)
    console.print(lines[-1])
    if num_errors:
        raise ValueError("\n".join(lines))
    return datalist


def _predict(bundle: Path, datalist: Path, output_dir: Path) -> Path:
    case = read_datalist(datalist).section("test")[0]
    prediction = output_dir.resolve() / "prediction"
    command = [sys.executable, "-m", "monai.bundle", "run"]
    command += ["--config_file", str(bundle.resolve() / "configs" / "inference.json")]
    command += ["--bundle_root", str(bundle.resolve()), "--input", case["image"], "--output_dir", str(prediction)]
    done = subprocess.run(command, cwd=prediction.parent, capture_output=True, text=True, encoding="utf-8")  # noqa: S603 (own command)
    if done.returncode:
        raise ValueError(f"The bundle failed on {case['image']}:\n{done.stderr[-2000:]}")
    predicted = next(prediction.glob("*.nii.gz"))
    load = VerifiedLoadImaged(["image", "label", "pred"], ensure_channel_first=True)
    scan = load({"image": case["image"], "label": case["label"], "pred": str(predicted)})
    label, pred = (np.rint(scan[key].numpy()).astype(int) for key in ("label", "pred"))
    names = read_datalist(datalist).labels
    return overlay_figure(scan["image"], label, pred, names, output_dir / "prediction.png")


def _table(files: list[Path]) -> Table:
    rows = {file: read_rows(file) for file in files}
    table = Table(title=f"Mean Dice on the test scans, {NUM_LABELS} labelled scans")
    table.add_column("class")
    for found in rows.values():
        table.add_column(found[0]["method"], justify="right")
    for name in dict.fromkeys(row["class"] for found in rows.values() for row in found):
        table.add_row(name, *(f"{_mean_dice(found, name):.2f}" for found in rows.values()))
    table.add_section()
    table.add_row("mean", *(f"{_mean_dice(found):.2f}" for found in rows.values()))
    return table


def _mean_dice(rows: list[dict], name: str | None = None) -> float:
    return float(np.mean([r["dice"] for r in rows if r["dice"] is not None and name in (None, r["class"])]))
