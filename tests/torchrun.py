"""Commands started on several ranks, as a user does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_MAIN = "from medssl.cli.app import main; main()"


def start_on_ranks(*command: Any, cwd: Path = ROOT, num_ranks: int = 2, module: str | None = None) -> subprocess.Popen:
    """Start ``torchrun --no-python medssl COMMAND``, or the module on the arguments, on CPU ranks of one thread."""
    code = ["-m", module] if module else ["--no-python", sys.executable, "-c", _MAIN]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_ranks)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*launcher, *code, *map(str, command)],
        cwd=cwd,
        env=environment,
        stdout=pipe,
        stderr=pipe,
        text=True,
        encoding="utf-8",
    )
