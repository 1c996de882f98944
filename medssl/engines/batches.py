"""Batches on their way from the loader to the network."""

from typing import Any

import torch
from torch import Tensor


def prepare_views(batch: dict[str, Any], device: torch.device, non_blocking: bool, **_: Any) -> tuple[dict, Tensor]:
    """Return the batch on the device, and the empty target that the trainer expects."""
    moved = {
        key: value.to(device, non_blocking=non_blocking) if isinstance(value, Tensor) else value
        for key, value in batch.items()
    }
    return moved, torch.empty(0, device=device)


def prepare_image(batch: dict[str, Any], device: torch.device, non_blocking: bool, **_: Any) -> tuple[Tensor, None]:
    """Return the images of a batch on the device and no label, for evaluation against labels on their own grid."""
    return batch["image"].to(device, non_blocking=non_blocking), None
