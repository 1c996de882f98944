"""What looking at the voxels adds to loading: 7 real scans, each loaded with and without it, in turn, in one process.

    python benchmarks/reliability.py FOLDER [--rounds 15]

FOLDER is searched for the scans named in `SCANS`. Warm page cache, one thread, CPU time, median of the rounds.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from medssl.scans.loading import VerifiedLoadImage

SCANS = (
    "btcv-abdomen-ct/images/btcv_01.nii.gz",
    "niivue-images/spm152.nii.gz",
    "niivue-images/chris_t1.nii.gz",
    "dalcalab-voxel-t1w/brain-t1w.nii.gz",
    "ibsi1-lung-ct/image/phantom.nii.gz",
    "open-ms-data/longitudinal/raw/patient01/study1_T2W.nii.gz",
    "elastix-lung-ct/Baselines/3DCT_lung.mha",
)


class Unjudged(VerifiedLoadImage):
    """The loader without the look at the voxels."""

    def _judged(self, volume, filename):
        return volume


def _seconds(load: VerifiedLoadImage, path: Path) -> float:
    start = time.process_time()
    load(path)
    return time.process_time() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loaders = (Unjudged(dtype=None), VerifiedLoadImage(dtype=None))
    totals = [0.0, 0.0]
    print("| Scan | Without | With | Ratio |\n|---|---|---|---|")
    for pattern in SCANS:
        path = sorted(arguments.folder.glob(pattern))[0]
        rounds = [[_seconds(load, path) for load in loaders] for _ in range(arguments.rounds)]
        times = [statistics.median(column) for column in zip(*rounds, strict=True)]
        totals = [total + part for total, part in zip(totals, times, strict=True)]
        print(f"| {path.name} | {times[0] * 1e3:.1f} ms | {times[1] * 1e3:.1f} ms | {times[1] / times[0]:.3f} |")
    print(f"| all | {totals[0] * 1e3:.1f} ms | {totals[1] * 1e3:.1f} ms | {totals[1] / totals[0]:.3f} |")


if __name__ == "__main__":
    main()
