"""Every command that writes, on tiny inputs, and what a full disk leaves of it."""

import json
from pathlib import Path

from tests.forked import Forked
from tests.killing_commands import COMMANDS, Inputs

# A run's first file is larger, and so is every other result; the log of the command is not.
MOST = 3000


def _rows(folder: Path) -> Path:
    names = ("setting", "method", "labels", "fold", "case", "class", "dice", "iou", "hd95_mm", "surface_dice")
    row = dict(zip(names, ("probe", "a", 1, 0, "c", "liver", 0.5, 0.4, 3.0, 0.5), strict=True))
    row |= {"reference_voxels": 10, "predicted_voxels": 10}
    lines = [json.dumps({**row, "case": f"case_{number:03d}"}) for number in range(100)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "rows.jsonl"


WRITERS = {
    "datalist": lambda inputs, out: ["datalist", inputs.datalist.parent / "images", "--out", out / "list.json"],
    "slices": lambda inputs, out: ["slices", inputs.datalist, "--out", out],
    "report": lambda inputs, out: ["report", _rows(inputs.plan.parent / "rows"), "--out", out],
    **{name: COMMANDS[name].words for name in ("prepare", "pretrain kats", "probe", "protocol", "pack")},
    "similarity": lambda inputs, out: [
        *("similarity", inputs.datalist.parent / "images" / "phantom_ct_000.nii.gz", "--point", "0", "0", "0"),
        *("--bundle", "abdomen-ct", "--out", out),
    ],
    "segment": lambda inputs, out: [
        *("segment", inputs.datalist.parent / "images", "--labels", inputs.datalist.parent / "labels"),
        *("--out", out, "--minutes", "0.1"),
    ],
}


def on_a_full_disk(name: str, inputs: Inputs, out: Path, most: int = MOST) -> tuple[int, str, list[str]]:
    """Run a command that may write no large file.

    Returns:
        Its exit status, what it printed, and the files that it left, but for locks and logs.
    """
    done = Forked(WRITERS[name](inputs, out), out.with_suffix(".log"), out.parent, most)
    status = done.wait()
    left = [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()]
    return status, done.output(), sorted(path for path in left if not path.endswith((".lock", "lock", "log.txt")))
