"""The demonstration with fewer, smaller scans and fewer steps; everything else is unchanged."""

import io
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from medssl.phantom.dataset import write_phantom
from medssl.workflows import demo

SMALL = {"base_channels": 4, "num_levels": 2, "max_epochs": 1}


def run_small_demo(folder: Path, probe_steps: int) -> tuple[Path, str]:
    """Run it in a new folder, with two steps of pretraining; return its bundle and its output."""
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        scans = partial(write_phantom, num_cases=5, num_labelled=2, num_validation=1, num_test=1, shape=(40, 32, 20))
        patch.setattr(demo, "write_phantom", scans)
        patch.setattr(demo, "PRETRAINING", {**demo.PRETRAINING, **SMALL, "steps_per_epoch": 2, "panel_every": 2})
        patch.setattr(demo, "PROBE", {**demo.PROBE, **SMALL, "steps_per_epoch": probe_steps})
        bundle = demo.run_demo(folder, Console(file=shown, width=120))
    return bundle, shown.getvalue()
