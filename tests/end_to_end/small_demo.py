"""The demonstration with fewer and smaller scans; everything else is unchanged."""

import io
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from medssl.phantom.dataset import write_phantom
from medssl.workflows import demo


def run_small_demo(folder: Path) -> tuple[Path, str]:
    """Run it in a new folder; return its bundle and its output."""
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        scans = partial(write_phantom, num_cases=4, num_labelled=2, num_validation=1, num_test=1, shape=(40, 32, 20))
        patch.setattr(demo, "write_phantom", partial(scans, spacing=(5.6, 5.9, 8.5)))
        bundle = demo.run_demo(folder, Console(file=shown, width=120))
    return bundle, shown.getvalue()
