"""Damaged DICOM: bytes changed, inserted or cut in the headers and ends of one series and one multi-frame file.

    python -m benchmarks.damaged_dicom [--count 1500] [--seed 0]

Every case is loaded as training loads it. It may be refused with a message that names the file or folder, load as
before, or load with another legal header (a changed digit of a position or slope), with or without a warning.
"""

import argparse
import resource
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from medssl.scans.headers import read_header
from medssl.scans.loading import VerifiedLoadImage
from tests.scans.dicom_writer import save_enhanced, save_slices
from tests.scans.files import AFFINE, hounsfield


def damaged(content: bytes, pixels: int, rng: np.random.Generator) -> bytes:
    """Return the content with one damage: bytes changed, cut off, or replaced by more or fewer."""
    end = len(content) - pixels
    kind = rng.integers(3)
    if kind == 1:
        return content[: rng.integers(0, len(content))]
    changed = bytearray(content)
    if kind == 0:
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(132, end)] = rng.integers(256)
    else:
        place = rng.integers(132, end)
        changed[place : place + rng.integers(1, 8)] = rng.bytes(rng.integers(0, 8))
    return bytes(changed)


def outcome(folder: Path) -> str:
    """Say what became of a folder."""
    try:
        volume = VerifiedLoadImage()(folder)
    except ValueError as error:
        return "refused by name" if str(folder) in str(error) else "refused without a name"
    except Exception as error:
        return f"traceback: {type(error).__name__}"
    if volume.shape == hounsfield().shape and np.allclose(volume.affine, AFFINE, atol=1e-3):
        return "as before" if np.array_equal(volume.numpy(), hounsfield()) else "other values"
    return "other geometry, with a warning" if read_header(folder).notes else "other geometry"


def main() -> None:
    """Print how many files came to which end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, found = np.random.default_rng(arguments.seed), Counter()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        series = save_slices(Path(folder) / "series", hounsfield(), AFFINE)
        frames = save_enhanced(Path(folder) / "frames" / "file", hounsfield(), AFFINE).parent
        for number in range(arguments.count):
            source, pixels = ((series, 240), (frames, 1920))[number % 2]
            file = sorted(source.iterdir())[rng.integers(8) if source == series else 0]
            whole = file.read_bytes()
            file.write_bytes(damaged(whole, pixels, rng))
            found[outcome(source)] += 1
            file.write_bytes(whole)
    for name, count in found.most_common():
        print(f"| {name} | {count} |")
    print(f"| most memory | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB |")


if __name__ == "__main__":
    main()
