"""Which windows a sliding window takes: as few voxels as an overlap and a limit allow."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

# What goes through a network at once where no limit is given, enough for a whole abdomen at 2 x 2 x 3 mm: 2 GiB with
# 16 channels and 4 levels, 4.4 GiB with 32 channels and 5.
VOXELS_AT_ONCE = 2**22
_LEAST_CELLS = 3


@dataclass(frozen=True)
class Plan:
    """The windows of one volume.

    Args:
        roi_size: voxels of a window along each axis.
        overlap: of neighbouring windows along each axis, as MONAI's inferer takes it.
        sw_batch_size: windows that go through the network at once.
        num_windows: all windows.
    """

    roi_size: tuple[int, ...]
    overlap: tuple[float, ...]
    sw_batch_size: int
    num_windows: int

    @property
    def computed_voxels(self) -> int:
        """Voxels of all windows: what the network computes."""
        return self.num_windows * math.prod(self.roi_size)


def plan_windows(
    shape: Sequence[int],
    patch_size: Sequence[int],
    overlap: float = 0.35,
    *,
    stride: int | None = None,
    largest_growth: float = 2,
    max_voxels: int | None = None,
    sw_batch_size: int = 1,
) -> Plan:
    """Return the windows that cover a volume with the fewest computed voxels.

    Neighbours overlap by at least `overlap`, and by more where an axis would otherwise leave a remainder: windows are
    spread evenly along an axis. MONAI keeps the overlap and pushes the last window back, so its last two overlap most;
    with the same number of windows, the least overlap is larger here.

    Larger windows compute fewer voxels twice, and show the network more context than it was trained with. That helps
    where a patch holds several cells of the coarsest level; where it holds only one or two, all of them saw the padding
    in training, and Dice fell by up to 0.3. So windows grow along axes of at least three cells.

    Args:
        shape: spatial shape of the volume.
        patch_size: smallest window, that of the training.
        overlap: fraction of a window that its neighbour shares, 0 <= overlap < 1.
        stride: voxels per cell of the network's coarsest level, the step in which windows grow; None keeps
            `patch_size`. Of several sizes the one with the fewest computed voxels is taken, then the smallest.
        largest_growth: of a window along an axis, as a multiple of the patch.
        max_voxels: voxels that may go through the network at once; None takes `VOXELS_AT_ONCE`, or one patch if that
            has more.
        sw_batch_size: most windows at once.

    Raises:
        ValueError: if one window of `patch_size` exceeds `max_voxels`.

    Example:
        >>> plan_windows((326, 245, 250), (128, 128, 32), overlap=0.5).num_windows
        225
        >>> plan_windows((326, 245, 250), (128, 128, 32), stride=16).roi_size
        (208, 256, 32)
    """
    limit = max(VOXELS_AT_ONCE, math.prod(patch_size)) if max_voxels is None else max_voxels
    if math.prod(patch_size) > limit:
        raise ValueError(f"A window of {list(patch_size)} has more than {max_voxels} voxels.")
    axes = [_sizes(size, patch, stride, largest_growth) for size, patch in zip(shape, patch_size, strict=True)]
    fitting = (roi_size for roi_size in itertools.product(*axes) if math.prod(roi_size) <= limit)

    def cost(roi_size: Sequence[int]) -> tuple[int, int]:
        voxels = math.prod(roi_size)
        return voxels * math.prod(map(_count, shape, roi_size, itertools.repeat(overlap))), voxels

    roi_size = min(fitting, key=cost)
    counts = [_count(size, roi, overlap) for size, roi in zip(shape, roi_size, strict=True)]
    return Plan(
        roi_size=roi_size,
        overlap=tuple(map(_even_overlap, shape, roi_size, counts)),
        sw_batch_size=int(min(sw_batch_size, limit // math.prod(roi_size))),
        num_windows=math.prod(counts),
    )


def _sizes(size: int, patch: int, stride: int | None, largest_growth: float) -> Sequence[int]:
    if stride is None or patch < _LEAST_CELLS * stride:
        return [patch]
    rounded_up = math.ceil(size / stride) * stride
    return range(patch, max(patch, int(min(largest_growth * patch, rounded_up))) + 1, stride)


def _count(size: int, roi: int, overlap: float) -> int:
    """Return the number of windows along an axis: as many as MONAI takes."""
    step = max(int(roi * (1 - overlap)), 1)
    return math.ceil(max(size - roi, 0) / step) + 1


def _even_overlap(size: int, roi: int, count: int) -> float:
    """Return the overlap at which MONAI's steps, which it rounds down, spread the windows evenly."""
    if count == 1:
        return 0.0
    step = math.ceil((size - roi) / (count - 1))
    return max(1 - (step + 0.5) / roi, 0.0)
