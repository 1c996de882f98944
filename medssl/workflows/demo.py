"""The demonstration: the steps from scans to a prediction, on synthetic phantoms, in a few minutes on two cores.

It shows that the steps work together. The training is too short, and the phantoms too simple, to show that pretraining
helps.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
from medssl.workflows.training import evaluate, pretrain, train_segmentation

# In MR, soft tissues differ enough for two minutes of pretraining.
DATA = ("mr", "phantom")
NUM_LABELS = 2
SIZE = {"base_channels": 16, "num_levels": 4, "num_workers": 0}
PRETRAINING = {
    **SIZE,
    "max_epochs": 3,
    "steps_per_epoch": 50,
    "pairs_per_batch": 4,
    "num_voxels": 256,
    "learning_rate": 0.001,
    "panel_every": 50,
}
PROBE = {
    **SIZE,
    # Windows that show the network more of the body than the patches of its pretraining.
    "patch_size": [64, 64, 32],
}


def run_demo(output_dir: Path, console: Console) -> Path:
    """Run the demonstration, print its steps, results and files, and return the folder of the segmentation bundle.

    1. Write phantom scans and check them.
    2. Pretrain a small backbone for 150 steps on the training, validation and unlabelled scans, without labels.
    3. Solve a linear probe on it with two labelled scans, and evaluate it on the test scans.
    4. Do the same on a backbone with random weights.
    5. Pack the pretrained backbone and its probe as bundles, and run every MONAI command on them.
    6. Segment a test scan with the probe's bundle in a new process.

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
    with _step(console, "2/6 Pretrain on all scans but the test scans, without labels"):
        pretrain("kats", datalist, DATA, output_dir / "pretrain", overrides=PRETRAINING)
    runs = {"pretrained": output_dir / "probe", "random": output_dir / "probe_random"}
    for number, (name, run) in enumerate(runs.items(), start=3):
        with _step(console, f"{number}/6 Linear probe with {NUM_LABELS} labelled scans on the {name} backbone"):
            backbone = output_dir / "pretrain" if name == "pretrained" else None
            settings = {**PROBE, "name": name}
            train_segmentation(
                "linear_probe", datalist, DATA, run, backbone=backbone, num_labels=NUM_LABELS, overrides=settings
            )
            evaluate(run)
    with _step(console, "5/6 Pack backbone and probe as MONAI bundles and run every MONAI command on them"):
        backbone, bundle = (
            pack(run, "phantom_mr", output_dir / "bundle", rehearsed=True)
            for run in (output_dir / "pretrain", output_dir / "probe")
        )
    with _step(console, "6/6 Segment a held-out scan with the bundle in a new process"):
        picture = _predict(bundle, datalist, output_dir)
    console.print(_table([run / "rows.jsonl" for run in runs.values()]))
    made = {
        "Report": report([run / "rows.jsonl" for run in runs.values()], output_dir / "report"),
        "Training curves": f"tensorboard --logdir {output_dir}",
        "Prediction": output_dir / "prediction",
        "Picture": picture,
        "Backbone, for MONAI Label and --backbone": backbone,
    }
    for what, where in made.items():
        console.print(f"{what}: {where}", soft_wrap=True)
    return bundle


@contextmanager
def _step(console: Console, title: str) -> Iterator[None]:
    console.print(f"[bold]{title}[/bold]")
    start = time.monotonic()
    yield
    console.print(f"  done in {time.monotonic() - start:.0f} s")


def _write_data(folder: Path, console: Console) -> Path:
    datalist = write_phantom(folder, modality="MR")
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
    table = Table(title=f"Mean Dice on the test scans, linear probe with {NUM_LABELS} labelled scans")
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
