"""What version 0.1 wrote, kept in tests/fixtures/version_0_1, and the scans that it was trained on."""

import tarfile
from pathlib import Path

from medssl.phantom.dataset import write_phantom

FIXTURES = Path(__file__).parent / "fixtures" / "version_0_1"
CASES = {"num_cases": 5, "num_labelled": 2, "num_validation": 1, "num_test": 1}
SIZE = {"shape": (40, 32, 20), "spacing": (5.6, 5.9, 8.5)}


def unpack(folder: Path) -> Path:
    """Unpack the runs ``pretrained``, ``stopped`` and ``probed`` and the folder ``bundles``; return their folder."""
    with tarfile.open(FIXTURES / "runs_and_bundles.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def write_scans(folder: Path) -> Path:
    """Write the phantoms of the runs again and return their data list."""
    return write_phantom(folder, **CASES, **SIZE)


def names(kind: str) -> list[str]:
    """Return dotted paths of version 0.1: ``recipe`` those in its recipes, ``public`` those of its modules."""
    return (FIXTURES / f"{kind}_names.txt").read_text(encoding="utf-8").split()
