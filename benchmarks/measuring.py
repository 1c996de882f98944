"""Shared by all benchmarks: rows of a table, timers, and functions run in a new process to measure their memory."""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
_CHILD = """
import importlib, json, sys, time
sys.path.insert(0, sys.argv[1])
from measuring import peak_mib
module, function, arguments = sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
function = getattr(importlib.import_module(module), function)
before = peak_mib()
start = time.perf_counter()
result = function(*arguments)
seconds = time.perf_counter() - start
after = peak_mib()
print("MEASURED " + json.dumps([result, seconds, after, after - before]))
"""


@dataclass(frozen=True)
class Row:
    """One row of the table: the cost in medssl, the cost in the peer, and the limit of the machine.

    Args:
        stage: name of the stage, the same for all rows of a script.
        quantity: what is measured, such as ``time`` or ``peak memory``, and the size of the input.
        ours, peer: in `unit`; less is better.
        unit: such as ``s`` or ``MiB``.
        peer_name: what medssl is compared with.
        target: the ratio to reach, or None.
        limit: what bounds the stage on this machine, with a number if there is one.
        note: equality with the peer and other conditions.
    """

    stage: str
    quantity: str
    ours: float
    peer: float
    unit: str
    peer_name: str
    target: float | None = None
    limit: str = ""
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times more the peer needs."""
        return self.peer / self.ours


@dataclass(frozen=True)
class Measured:
    """A call in a new process: its result, its seconds, and its peak memory in MiB.

    `extra_mib` is what the call added to the peak of the process; imports do not count.
    """

    result: Any
    seconds: float
    peak_mib: float
    extra_mib: float


Clock = Callable[[], float]


def user_time() -> float:
    """The user time of this process, to which other work and the state of the machine's memory add nothing."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def best_of(call: Callable[[], Any], repeats: int = 3, clock: Clock = time.perf_counter) -> float:
    """The seconds of the fastest of several calls, by a clock."""
    return min(_seconds_of(call, clock) for _ in range(repeats))


def median_of(call: Callable[[], Any], repeats: int = 30, clock: Clock = time.perf_counter) -> float:
    """The median seconds of several calls, by a clock, for calls of milliseconds."""
    return statistics.median(_seconds_of(call, clock) for _ in range(repeats))


def in_fresh_process(module: str, function: str, *arguments: Any, threads: int = 1) -> Measured:
    """Call a function of a benchmark module in a new process, and measure its time and memory.

    Args:
        module: name of a script in this folder, without its ending.
        function: name of a function in it; its result must fit JSON.
        arguments: arguments of the function; they must fit JSON.
        threads: number of threads of torch and NumPy.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", _CHILD, str(FOLDER), module, function, json.dumps(arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"{module}.{function} failed:\n{done.stderr[-4000:]}")
    line = next(line for line in done.stdout.splitlines() if line.startswith("MEASURED "))
    return Measured(*json.loads(line.removeprefix("MEASURED ")))


def peak_mib() -> float:
    """The peak memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # getrusage starts from the peak of the parent process.
    line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def machine() -> str:
    """Describe the machine and the versions, in one line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "monai", "numpy", "medssl"))
    return f"{os.cpu_count()} CPUs ({cpu}), Python {platform.python_version()}, {packages}"


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    lines = ["| Stage | Measured | medssl | Peer | Ratio | Target | Peer is | Limit | Note |", "|---" * 9 + "|"]
    for row in rows:
        target = "" if row.target is None else f"{'≥' if row.ratio >= row.target else 'missed: ≥'} {row.target:g}×"
        numbers = f"{row.ours:.3g} {row.unit} | {row.peer:.3g} {row.unit} | **{row.ratio:.1f}×** | {target}"
        lines.append(f"| {row.stage} | {row.quantity} | {numbers} | {row.peer_name} | {row.limit} | {row.note} |")
    return "\n".join(lines)


def print_rows(rows: Sequence[Row]) -> None:
    """Print rows and the machine they were measured on."""
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}\n\n{table(rows)}", flush=True)


def _seconds_of(call: Callable[[], Any], clock: Clock) -> float:
    start = clock()
    call()
    return clock() - start
