"""The environments of MONAI Label and of 3D Slicer's own classes, and what Slicer sees in two files."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# These files run in other environments; pytest must not collect their doctests.
collect_ignore = ["scene.py", "label_client.py", "label_app_client.py", "channel_client.py"]
SCENE = Path(__file__).with_name("scene.py")


@pytest.fixture(scope="session")
def environment() -> Path:
    """The folder of the environment of MONAI Label."""
    folder = os.environ.get("MEDSSL_MONAILABEL")
    if not folder:
        pytest.skip("MEDSSL_MONAILABEL is not set; see .ci/monailabel-env")
    return Path(folder)


@pytest.fixture(scope="session")
def slicer_sees() -> Callable[..., dict[str, Any]]:
    """A function that loads a volume and a segmentation in Slicer's Python, in a new process.

    With names after the files, the segmentation is a label map as MONAI Label's plugin gets it from the server.
    """
    python = os.environ.get("MEDSSL_SLICER_PYTHON")
    if not python:
        pytest.skip("MEDSSL_SLICER_PYTHON is not set; see .ci/slicer-env")

    def sees(volume: Path, segmentation: Path, *names: str) -> dict[str, Any]:
        command = [python, SCENE, volume, segmentation, *names]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
        lines = [line for line in done.stdout.splitlines() if line.startswith("SEEN ")]
        assert lines, done.stdout + done.stderr
        return json.loads(lines[0].removeprefix("SEEN "))

    return sees
