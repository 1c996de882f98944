"""Sliding-window inference in fewer and larger windows, for networks whose features need no patch of one size."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from monai.inferers import SlidingWindowInferer
from torch import Tensor

from medssl.ops.windows import plan_windows


class GrowingInferer(SlidingWindowInferer):
    """Blends windows as MONAI's inferer does, with sizes and numbers planned for each volume.

    The windows are those of `medssl.ops.windows.plan_windows`: the whole volume where its default limit allows, since
    features near the border of a window see zeros instead of the scan. For random weights that matters most: on five
    abdominal CT, one label gave 0.09 in windows of twice the patch and 0.17 in whole scans.

    Args:
        roi_size: size of the training patches, the smallest window.
        stride: voxels per cell of the network's coarsest level; windows grow in its steps. None keeps `roi_size`.
        overlap: least overlap of neighbouring windows.
        sw_batch_size: most windows at once; fewer if they are large.
        mode: of the blending, as in MONAI.
        sw_device: where the network runs, as in MONAI.
        device: where the sums are kept, as in MONAI.

    Example:
        >>> import torch
        >>> inferer = GrowingInferer((16, 16), stride=4, overlap=0.25)
        >>> inferer(torch.zeros(1, 1, 40, 20), lambda window: torch.cat([window, window], 1)).shape
        torch.Size([1, 2, 40, 20])
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        stride: int | None = None,
        overlap: float = 0.25,
        sw_batch_size: int = 1,
        mode: str = "gaussian",
        sw_device: str | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(tuple(roi_size), sw_batch_size, overlap, mode, sw_device=sw_device, device=device)
        self.stride = stride

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Return the blended output for ``inputs`` of shape ``(B, C, *spatial)``."""
        plan = plan_windows(
            *(inputs.shape[2:], self.roi_size, self.overlap),
            stride=self.stride,
            largest_growth=math.inf,
            sw_batch_size=self.sw_batch_size,
        )
        inferer = SlidingWindowInferer(
            *(plan.roi_size, plan.sw_batch_size, plan.overlap, self.mode),
            sw_device=self.sw_device,
            device=self.device,
            progress=self.progress,
        )
        return inferer(inputs, network, *args, **kwargs)
