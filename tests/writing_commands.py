"""Every command that writes, on tiny inputs, and what a full disk leaves of it."""

import json
from pathlib import Path
from typing import Any

import torch

from tests.forked import Forked
from tests.killing_commands import COMMANDS, Inputs
from tests.packaging.published import published_state
from tests.tiny import SEGMENTATION, arguments, files_of

# The first file of each is larger; the log of the command is not.
MOST = 1000


def _rows(folder: Path) -> Path:
    names = ("setting", "method", "labels", "fold", "case", "class", "dice", "iou", "hd95_mm", "surface_dice")
    row = dict(zip(names, ("probe", "a", 1, 0, "c", "liver", 0.5, 0.4, 3.0, 0.5), strict=True))
    row |= {"reference_voxels": 10, "predicted_voxels": 10}
    lines = [json.dumps({**row, "case": f"case_{number:03d}"}) for number in range(100)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "rows.jsonl"


def _finished(inputs: Inputs, out: Path, *words: Any) -> Path:
    """A run that an earlier command left in the folder."""
    out.parent.mkdir(exist_ok=True)
    common = ["--datalist", inputs.datalist, "--data", "ct", "--out", out, "--num_labels", 1]
    done = Forked([*words[:1], *common, *words[1:]], out.with_suffix(".run.log"), out.parent)
    if done.wait():
        raise RuntimeError(done.output())
    return out


def _probe(inputs: Inputs, out: Path) -> Path:
    return _finished(inputs, out, "probe", "--backbone", inputs.backbone, *arguments(SEGMENTATION))


def _stock(inputs: Inputs, out: Path) -> Path:
    small = {"network_def::init_filters": 8, "network_def::blocks_down": [1, 1, 1, 1]}
    layers = ["--data", "auto3dseg_ct", "--with", "stock_network"]
    return _finished(inputs, out, "finetune", *layers, *arguments({**SEGMENTATION, **small}))


def _published(folder: Path) -> Path:
    torch.save({"state_dict": published_state(width=4, num_levels=3)}, folder / "authors.pt")
    return folder / "authors.pt"


def _scan(inputs: Inputs) -> Path:
    return inputs.datalist.parent / "images" / "phantom_ct_000.nii.gz"


WRITERS = {
    "datalist": lambda inputs, out: ["datalist", inputs.datalist.parent / "images", "--out", out / "list.json"],
    "slices": lambda inputs, out: ["slices", inputs.datalist, "--out", out],
    "report": lambda inputs, out: ["report", _rows(inputs.plan.parent / "rows"), "--out", out],
    **{name: COMMANDS[name].words for name in ("prepare", "pretrain kats", "probe", "protocol", "pack")},
    "finetune": COMMANDS["finetune"].words,
    "folds": lambda inputs, out: ["folds", inputs.datalist, "--count", 2, "--out", out],
    "evaluate": lambda inputs, out: ["evaluate", _probe(inputs, out)],
    "demo": lambda inputs, out: ["demo", "--out", out],
    "similarity": lambda inputs, out: [
        *("similarity", _scan(inputs), "--point", "0", "0", "0", "--bundle", "abdomen-ct", "--out", out)
    ],
    "segment-points": lambda inputs, out: [
        *("segment-points", _scan(inputs), "--in", "0", "0", "0", "--bundle", "abdomen-ct", "--out", out)
    ],
    "weights import": lambda inputs, out: [
        *("weights", "import", _published(inputs.plan.parent), "--as", "kats", "--data", "ct", "--out", out)
    ],
    "bundle export-auto3dseg": lambda inputs, out: [
        *("bundle", "export-auto3dseg", _stock(inputs, out / "run"), "--name", "toy", "--out", out / "models")
    ],
    "segment": lambda inputs, out: [
        *("segment", inputs.datalist.parent / "images", "--labels", inputs.datalist.parent / "labels"),
        *("--out", out, "--minutes", "0.1"),
    ],
}


def on_a_full_disk(name: str, inputs: Inputs, out: Path, most: int = MOST) -> tuple[int, str, list[str]]:
    """Run a command that may write no large file.

    Returns:
        Its exit status, what it printed, and the files that it made or changed, but for locks and logs.
    """
    return _run(name, inputs, out, most=most)


def on_a_read_only_disk(name: str, inputs: Inputs, out: Path) -> tuple[int, str, list[str]]:
    """Run a command in a folder that it may not write to.

    Returns:
        Its exit status, what it printed, and the files that it made or changed all the same.
    """
    return _run(name, inputs, out, unprivileged=True)


def _run(name: str, inputs: Inputs, out: Path, **conditions: Any) -> tuple[int, str, list[str]]:
    words = WRITERS[name](inputs, out)
    before = files_of(out)
    if "unprivileged" in conditions:
        out.mkdir(exist_ok=True)
        for path in (out, *out.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
    done = Forked(words, out.with_suffix(".log"), out.parent, **conditions)
    status = done.wait()
    left = [path for path, content in files_of(out).items() if content != before.get(path)]
    return status, done.output(), sorted(path for path in left if not path.endswith(("lock", "log.txt")))
