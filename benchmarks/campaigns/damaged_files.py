"""Load and check damaged files of every format, and count what became of them.

    python -m benchmarks.campaigns.damaged_files [--count 10000] [--seed 0] [--only FORMAT]

Each file has one damage (`tests.scans.damages`, `tests.scans.bombs`), drawn from the seed and its number. It is loaded
as training loads it, and read as `medssl check` reads it, in a process that may allocate 4 GiB more than it needs for
itself, and that is ended if a file takes 20 seconds of computing or 5 minutes. The files run in turns of one process,
which is replaced if it dies.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SECONDS, PATIENCE = 20, 300
GIB = 2**30


def main() -> None:
    """Print how many files of each format came to which end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a format")
    parser.add_argument("--from", dest="first", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first is not None:
        _work(options)
        return
    results = []
    while len(results) < options.count:
        results += _one_process(options, len(results))
    _print_table(results)


def _one_process(options: argparse.Namespace, first: int) -> list[dict]:
    """Run the files from a number on until all are done or the process dies, which counts for the file it was at."""
    command = [sys.executable, "-m", "benchmarks.campaigns.damaged_files", "--from", str(first)]
    command += ["--count", str(options.count), "--seed", str(options.seed), "--only", options.only]
    results = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        started = {}
        for line in process.stdout:
            entry = json.loads(line)
            if "outcome" in entry:
                results.append(entry)
                if not (first + len(results)) % 500:
                    print(f"{first + len(results)} of {options.count}", file=sys.stderr, flush=True)
            started = entry
    if process.returncode:
        ending = "hang" if -process.returncode in (signal.SIGALRM, signal.SIGPROF) else f"crash ({process.returncode})"
        results.append({**started, "outcome": ending, "seconds": SECONDS, "mib": 0})
        print(results[-1], file=sys.stderr)
    return results


def _work(options: argparse.Namespace) -> None:
    from tests.scans.damaging import DAMAGES, FINE, damage, outcome, sound
    from tests.scans.sound_files import FORMATS

    formats = [name for name in FORMATS if options.only in ("", name)]
    # libtiff and OpenJPEG print what they think of a file.
    own = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: sound(name, Path(folder) / str(number)) for number, name in enumerate(formats)}
        # Imports and first calls allocate what is not the files'.
        for name, path in paths.items():
            assert outcome(name, damage(name, path, None)) == "as before", name
        _limit_memory()
        for number in range(options.first, options.count):
            rng = np.random.default_rng((options.seed, number))
            name, kind = formats[number % len(formats)], DAMAGES[rng.integers(len(DAMAGES))]
            entry = {"number": number, "format": name, "damage": kind}
            print(json.dumps(entry), flush=True)
            damaged = damage(name, paths[name], kind, rng)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.alarm(PATIENCE)
            begun, before = time.process_time(), _peak_mib()
            entry["outcome"] = outcome(name, damaged)
            entry |= {"seconds": time.process_time() - begun, "mib": _peak_mib(restart=False) - before}
            signal.alarm(0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            print(json.dumps(entry), flush=True)
            if entry["outcome"] not in FINE:
                os.write(own, f"{entry}\n".encode())
            damaged.undo()


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * GIB, resource.RLIM_INFINITY))


def _peak_mib(restart: bool = True) -> float:
    """Most memory that the process has held since this was last restarted; Linux keeps it."""
    if restart:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _print_table(results: list[dict]) -> None:
    names = list(dict.fromkeys(entry["format"] for entry in results))
    found = [outcome for outcome, _ in Counter(entry["outcome"].partition(":")[0] for entry in results).most_common()]
    print(f"| Format | files | {' | '.join(found)} | slowest | most memory |")
    print("|---" * (len(found) + 4) + "|")
    for name in [*names, "all"]:
        own = [entry for entry in results if name in ("all", entry["format"])]
        counts = Counter(entry["outcome"].partition(":")[0] for entry in own)
        numbers = " | ".join(str(counts[outcome]) for outcome in found)
        slowest, most = (max(entry[key] for entry in own) for key in ("seconds", "mib"))
        print(f"| {name} | {len(own)} | {numbers} | {slowest:.1f} s | {most:.0f} MiB |")


if __name__ == "__main__":
    main()
