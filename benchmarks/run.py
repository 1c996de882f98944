"""Run the benchmarks of all stages or some, and write their sections of ``benchmarks/results.md``.

    python benchmarks/run.py [STAGE ...] [--quick]

A stage is a script in this folder that compares medssl with what a user would choose today, both in one run. Sections
of other stages stay as they are. ``--quick`` uses small sizes, and prints without writing.
"""

import argparse
import importlib
import os
import re
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

import torch
from measuring import machine, table

from medssl.files import replacing

STAGES = (
    "prepare",
    "crops",
    "pairs",
    "synthetic",
    "gather",
    "info_nce",
    "queue_contrast",
    "step",
    "probe",
    "inference",
    "cuda_step",
)
RESULTS = Path(__file__).with_name("results.md")
INTRODUCTION = """# Benchmarks

Written by `python benchmarks/run.py`. Each section is one stage, measured in one run with its peer. Read the ratios:
the machines are shared, and absolute times vary by ten percent and more.
"""


def section(stage: str, full: bool) -> str:
    """Run a stage; return its section: the comparison, the machine, the table and, if there is one, a profile."""
    module = importlib.import_module(stage)
    load = os.getloadavg()[0]
    rows = module.measure(full)
    command = f"`python benchmarks/run.py {stage}`, {datetime.now(UTC).date()}, load {load:.1f} at the start"
    text = f"## {stage}\n\n{module.__doc__.strip()}\n\n{command}; {machine()}\n\n{table(rows)}\n"
    if hasattr(module, "profile"):
        text += f"\nWhere the time goes:\n\n```\n{module.profile(full).strip()}\n```\n"
    return text


def written(stages: dict[str, str]) -> str:
    """The text of the results file with some sections replaced."""
    former = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    parts = re.split(r"^(?=## )", former, flags=re.MULTILINE)[1:]
    sections = {part.split("\n", 1)[0].removeprefix("## "): part.rstrip() + "\n" for part in parts} | stages
    # Sections of scripts that need more than this one gives them stay, at the end.
    ordered = [*STAGES, *(name for name in sections if name not in STAGES)]
    return "\n".join([INTRODUCTION, *(sections[stage] for stage in ordered if stage in sections)])


def main() -> None:
    """Run the stages; if some fail, run the others and name those that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    if unknown := set(chosen.stages) - set(STAGES):
        parser.error(f"there is no stage {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    stages = chosen.stages or [stage for stage in STAGES if stage != "cuda_step" or torch.cuda.is_available()]
    failed = []
    for stage in stages:
        try:
            text = section(stage, not chosen.quick)
        except Exception:
            traceback.print_exc()
            failed.append(stage)
            continue
        print(text, flush=True)
        if not chosen.quick:
            with replacing(RESULTS) as temporary:
                temporary.write_text(written({stage: text}), encoding="utf-8")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
