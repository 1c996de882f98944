"""Whether the patches of a training fit into memory, said before anything starts."""

import math
from collections.abc import Mapping
from typing import Any

from medssl.scans.memory import free_memory

# Bytes for each voxel of a patch and each channel of the finest level that a step takes at the very least: in half
# precision, keeping only what lies between the stages of the network.
_LEAST_BYTES = 32


def require_training_memory(config: Mapping[str, Any]) -> None:
    """Require that a step of a training on the CPU can fit into memory.

    What is refused cannot work; a little more than that may still be too much. Sizes that are references or expressions
    are left to whoever resolves them, and so are networks without ``base_channels``.

    Args:
        config: merged, unresolved.

    Raises:
        ValueError: if it cannot; names the settings.

    Example:
        >>> sizes = {"patch_size": [4096, 4096, 4096], "pairs_per_batch": 10, "base_channels": 32}
        >>> require_training_memory(sizes | {"run": ["$@train::trainer.run()"]})
        Traceback (most recent call last):
        ValueError: A step of 20 patches of 4096 x 4096 x 4096 voxels takes at least 1310720.0 GiB, and ...
    """
    if not any("@train::trainer" in str(step) for step in config.get("run", [])):
        return
    patches = config.get("patches_per_batch", 2 * config.get("pairs_per_batch", 0))
    sizes = [*(config.get("patch_size") or [None]), patches, config.get("base_channels")]
    if not all(isinstance(size, int) for size in sizes):
        return
    needed, free = _LEAST_BYTES * math.prod(sizes), free_memory()
    if needed > free and not _on_gpu(config):
        size = " x ".join(map(str, config["patch_size"]))
        batch = "pairs_per_batch" if "pairs_per_batch" in config else "patches_per_batch"
        raise ValueError(
            f"A step of {patches} patches of {size} voxels takes at least {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB are free; set a smaller --patch_size or --{batch}."
        )


def _on_gpu(config: Mapping[str, Any]) -> bool:
    # Only asked where memory is short, as torch takes a second to import.
    import torch

    return torch.cuda.is_available() and "cpu" not in str(config.get("device"))
