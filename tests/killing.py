"""Kill a run with SIGKILL again and again, at moments seen from its files, and start it with the same command."""

import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from tests.tiny import PRETRAINING, arguments, start

# Of the moments that are drawn; one more kill comes after the last step.
MOMENTS = ("start-up", "start-up", "steps", "steps", "saving", "saving", "saving")
_WRITTEN = re.compile(r"step=\d+\.pt")
_TEMPORARY = re.compile(r"\.step=\d+\.pt\.[a-z0-9_]{8}\.pt")


def pretraining_command(datalist: Path, steps: int, num_workers: int) -> list[str]:
    """Give a toy pretraining that saves every third step, without its output folder."""
    pace = {"steps_per_epoch": 5, "max_epochs": steps // 5, "checkpoint_every": 3, "panel_every": steps}
    settings = {**PRETRAINING, **pace, "num_workers": num_workers}
    return ["pretrain", "kats", "--datalist", str(datalist), "--data", "ct", *arguments(settings)]


def run_with_kills(command: Sequence[str], folder: Path, steps: int, kills: int, seed: int) -> Counter:
    """Start a run, kill it a number of times, let it end, and count the kills by their moment.

    The command is the same every time. ``saving`` counts what was drawn, ``within a save`` the kills that left a
    temporary checkpoint behind.

    Args:
        command: of medssl, without the output folder.
        folder: of the run.
        steps: of the run.
        kills: how many, the last of them after the last step.
        seed: of the moments.
    """
    rng = random.Random(seed)
    command = [*command, "--out", str(folder), "--resume"]
    counts: Counter = Counter()
    for moment in [*rng.choices(MOMENTS, k=kills - 1), "end"]:
        process = start(*command, cwd=folder.parent)
        wait = _WAITS[moment](folder, steps, rng)
        while process.poll() is None and not wait():
            time.sleep(0.0003)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=300)
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"The run ended with {process.returncode} before it was killed:\n{errors}")
        counts[moment] += 1
        counts["within a save"] += bool(_checkpoints(folder, _TEMPORARY))
    done = subprocess_result(start(*command, cwd=folder.parent))
    if done[0]:
        raise RuntimeError(f"The run could not be finished:\n{done[1]}")
    return counts


def subprocess_result(process: subprocess.Popen) -> tuple[int, str]:
    """Give the exit status and the errors of a process when it has ended."""
    _, errors = process.communicate(timeout=600)
    return process.returncode, errors


def differences(first: Path, second: Path) -> list[str]:
    """Give the names of the tensors and numbers in which two files differ, to the bit."""
    leaves = [_flat(torch.load(path, weights_only=True)) for path in (first, second)]
    names = leaves[0].keys() ^ leaves[1].keys()
    for name in leaves[0].keys() & leaves[1].keys():
        a, b = leaves[0][name], leaves[1][name]
        if not (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b):
            names |= {name}
    return sorted(names)


def _flat(value, name=""):
    if isinstance(value, dict):
        return {key: leaf for k, v in value.items() for key, leaf in _flat(v, f"{name}/{k}").items()}
    if isinstance(value, list):
        return _flat(dict(enumerate(value)), name)
    return {name: value}


def last_checkpoint(folder: Path, steps: int) -> Path:
    return folder / "checkpoints" / f"step={steps:07d}.pt"


def _checkpoints(folder: Path, pattern: re.Pattern) -> set[str]:
    try:
        return {name for name in os.listdir(folder / "checkpoints") if pattern.fullmatch(name)}
    except FileNotFoundError:
        return set()


def _during_start_up(folder: Path, steps: int, rng: random.Random) -> Callable[[], bool]:
    end = time.monotonic() + rng.uniform(0, 8)
    before = _time_of(folder / ".lock")

    def wait() -> bool:
        nonlocal end
        if before != _time_of(folder / ".lock"):
            # The run has begun: it reads its scans, or is in its first steps.
            end = min(end, time.monotonic() + rng.uniform(0, 0.3))
        return time.monotonic() > end

    return wait


def _during_steps(folder: Path, steps: int, rng: random.Random) -> Callable[[], bool]:
    saved = _checkpoints(folder, _WRITTEN)
    end = None

    def wait() -> bool:
        nonlocal end
        if end is None and _checkpoints(folder, _WRITTEN) - saved:
            end = time.monotonic() + rng.uniform(0, 0.1)
        return end is not None and time.monotonic() > end

    return wait


def _while_saving(folder: Path, steps: int, rng: random.Random) -> Callable[[], bool]:
    old = _checkpoints(folder, _TEMPORARY)
    delay = rng.uniform(0, 0.004)

    def wait() -> bool:
        if _checkpoints(folder, _TEMPORARY) <= old:
            return False
        end = time.perf_counter() + delay
        while time.perf_counter() < end:
            pass
        return True

    return wait


def _after_the_last_step(folder: Path, steps: int, rng: random.Random) -> Callable[[], bool]:
    return last_checkpoint(folder, steps).exists


def _time_of(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


_WAITS = {
    "start-up": _during_start_up,
    "steps": _during_steps,
    "saving": _while_saving,
    "end": _after_the_last_step,
}
