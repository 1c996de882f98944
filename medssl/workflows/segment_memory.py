"""Whether scans and patches fit into memory, said before anything starts."""

import math
from collections.abc import Sequence
from pathlib import Path

from medssl.scans.memory import free_memory

# Upper estimates: float32 copies of a scan while it is loaded, resampled and its prediction turned back.
_COPIES_OF_SCAN = 16
# Bytes per voxel of a patch and channel of the finest level, for a training step.
_TRAINING_BYTES = 200


def require_memory(path: Path, shape: Sequence[int], channels: int = 1) -> None:
    """Raise MemoryError if a scan is too large to be segmented here.

    Args:
        path: for the message.
        shape: of the scan.
        channels: that it has.
    """
    needed = 4 * _COPIES_OF_SCAN * math.prod(shape) * channels
    if needed > free_memory():
        size = " x ".join(map(str, shape))
        raise MemoryError(
            f"{path} has {size} voxels, which take {_gib(needed)} to segment, and {_gib(free_memory())} are free; "
            "crop it or resample it to a larger spacing."
        )


def require_patch_memory(patch_size: Sequence[int], channels: int, patches: int) -> None:
    """Raise ValueError if training on patches of a size would take more memory than there is.

    Args:
        patch_size: of a patch.
        channels: of the finest level of the network.
        patches: in a step.
    """
    needed = _TRAINING_BYTES * channels * patches * math.prod(patch_size)
    if needed > free_memory():
        size = " x ".join(map(str, patch_size))
        raise ValueError(
            f"Patches of {size} voxels take {_gib(needed)} in training, and {_gib(free_memory())} are free; set a "
            "smaller --patch_size."
        )


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
