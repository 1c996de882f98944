"""Settings that make a recipe small enough for a test, and the command line in a fresh process."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SIZES = {
    "spacing": [6.0, 6.0, 9.0],
    "patch_size": [16, 16, 8],
    "shuffle_blocks": 20,
    "max_epochs": 1,
    "steps_per_epoch": 2,
    "num_workers": 0,
}
PRETRAINING = {
    **SIZES,
    "base_channels": 4,
    "num_levels": 2,
    "pairs_per_batch": 2,
    "num_voxels": 16,
    "panel_every": 2,
    "checkpoint_every": 2,
}
SEGMENTATION = {
    **SIZES,
    "patches_per_batch": 2,
    "volumes_per_batch": 1,
    "val_interval": 1,
    "checkpoint_every": 2,
    "overlap": 0.0,
}
NETWORK = {"base_channels": 4, "num_levels": 2}


def arguments(settings: Mapping[str, Any]) -> list[str]:
    """Give settings as arguments of a command line."""
    return [text for key, value in settings.items() for text in (f"--{key}", str(value))]


def start(*command: Any, cwd: Path, module: str = "medssl.cli.app") -> subprocess.Popen:
    """Start ``python -m MODULE COMMAND`` in a fresh process on one core."""
    code = [sys.executable, "-m", module] if module != "medssl.cli.app" else [sys.executable, "-c", _MAIN]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*code, *map(str, command)], cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True, encoding="utf-8"
    )


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Give the time of change and the bytes of every file below a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


_MAIN = "from medssl.cli.app import main; main()"
