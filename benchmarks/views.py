"""Time the local and non-linear augmentations of a pair of views against MONAI's nearest transforms.

Both sides augment two patches of 128 x 128 x 32 independently, with probability 1: 5,000 shuffled blocks of 6 x 6 x 1
voxels, a random intensity curve, and as many in-painted boxes as Kats et al. (2024) have on average. One thread, best
of 3.

    python benchmarks/views.py
"""

import time
from collections.abc import Callable

import monai
import torch
from monai.transforms import Compose, RandCoarseDropoutd, RandCoarseShuffled, RandHistogramShiftd

from medssl.transforms.intensity import RandBezierIntensityd
from medssl.transforms.local import RandLocalInpaintd, RandLocalShuffled

SIZE = (128, 128, 32)
VIEWS = ("view_1", "view_2")
NUM_BLOCKS = 5000
BLOCK = (6, 6, 1)
NUM_BOXES = 15
SMALLEST, LARGEST = (12, 12, 3), (24, 24, 5)


def our_transforms() -> list:
    """The transforms of medssl, one for both views."""
    return [
        RandLocalShuffled(VIEWS, prob=1, num_blocks=NUM_BLOCKS, block_size=BLOCK),
        RandBezierIntensityd(VIEWS, prob=1),
        RandLocalInpaintd(VIEWS, max_boxes=NUM_BOXES, continue_prob=1, min_box_size=SMALLEST, max_box_size=LARGEST),
    ]


def monai_transforms() -> list:
    """MONAI's transforms, one per view, in the order of ours."""
    # One per view, since the keys of one MONAI transform share their random numbers.
    noise = {"fill_value": (0.0, 1.0), "spatial_size": SMALLEST, "max_spatial_size": LARGEST}
    shuffle = [RandCoarseShuffled(key, holes=NUM_BLOCKS, spatial_size=BLOCK, prob=1) for key in VIEWS]
    curve = [RandHistogramShiftd(key, num_control_points=4, prob=1) for key in VIEWS]
    # MONAI draws each box at least as large as the one before, so its boxes cover more.
    inpaint = [RandCoarseDropoutd(key, holes=NUM_BOXES, prob=1, **noise) for key in VIEWS]
    return [*shuffle, *curve, *inpaint]


def pair() -> dict[str, torch.Tensor]:
    """Two patches of noise."""
    torch.manual_seed(0)
    return {key: torch.rand(1, *SIZE) for key in VIEWS}


def best_of_3(augment: Callable) -> float:
    """The seconds that augmenting one pair takes; patches are new each time, since MONAI changes some in place."""
    seconds = []
    for _ in range(3):
        views = pair()
        start = time.perf_counter()
        augment(views)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def changed(augment: Callable) -> float:
    """The share of voxels that an augmentation changes."""
    before, after = pair(), augment(pair())
    return sum(float((before[key] != after[key]).float().mean()) for key in VIEWS) / len(VIEWS)


def main() -> None:
    """Print a row per augmentation and one for all of them in a chain."""
    torch.set_num_threads(1)
    print(f"Two patches of {SIZE}, one thread, best of 3; torch {torch.__version__}, monai {monai.__version__}")
    print(f"{'':<24}{'medssl':>10}{'MONAI':>10}{'ratio':>8}   changed voxels")
    names = ("shuffled blocks", "intensity curve", "in-painted boxes")
    ours, theirs = our_transforms(), monai_transforms()
    rows = {name: ([ours[i]], theirs[2 * i : 2 * i + 2]) for i, name in enumerate(names)}
    for name, sides in {**rows, "all": (ours, theirs)}.items():
        chains = [Compose(side).set_random_state(seed=0) for side in sides]
        parts = [changed(chain) for chain in chains]
        times = [best_of_3(chain) * 1000 for chain in chains]
        print(
            f"{name:<24}{times[0]:>7.2f} ms{times[1]:>7.2f} ms{times[1] / times[0]:>7.1f}x"
            f"   {parts[0]:.1%} / {parts[1]:.1%}"
        )


if __name__ == "__main__":
    main()
