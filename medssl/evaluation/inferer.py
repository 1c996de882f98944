"""Sliding-window inference in bounded memory, with fewer windows and in bfloat16."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn

from medssl.ops.windows import Plan, plan_windows
from medssl.speed.gate import outputs_as_float32
from medssl.speed.parity import soil_memory
from medssl.speed.switches import multiplies_bfloat16
from medssl.speed.wide_kernels import run_wide_kernels_in_float32

# Measured upper bounds: what a forward pass of a pyramid network holds at its peak, per voxel of the window and channel
# of the finest level. FPNs of 3 to 6 levels and 8 to 32 channels, in 2D and 3D, took up to 36 and 26 bytes; in bfloat16
# the same run took from 12 to 26, as the copies that its kernels make come and go.
_FLOAT32_BYTES = 42
_BFLOAT16_BYTES = 32
# Per voxel of the window and output channel: logits as the network gives them, in float32, and weighted.
_OUTPUT_BYTES = 10
# Kernels' scratch space and the allocator's slack.
_FIXED_BYTES = 64 * 2**20

logger = logging.getLogger(__name__)


class PlannedInferer(SlidingWindowInferer):
    """Blends windows as MONAI's inferer does, with sizes and numbers planned for each volume.

    The windows are those of `plan_windows`. Window for window the result is that of MONAI's inferer; only the network
    may run in bfloat16. Sums are in float32. Gradients are not tracked.

    Args:
        roi_size: size of the training patches, the smallest window.
        base_channels: channels of the network's finest level, from which its memory is estimated.
        out_channels: channels that the network gives.
        memory_gib: most memory that a call may take in addition to the volume and the network. On a GPU, the sums
            are kept on the CPU if they do not fit.
        overlap: least overlap of neighbouring windows.
        sw_batch_size: most windows at once; fewer if memory is short.
        amp: True runs the network in bfloat16 with channels last, if the processor multiplies bfloat16; convolutions
            that its kernels get wrong run in float32 (`medssl.speed.wide_kernels`), and so does the whole network if
            its first window, computed twice in memory full of NaN, does not give the same finite numbers, or half of
            it not the outputs of float32 (`medssl.speed.gate`).
        stride: voxels per cell of the network's coarsest level; windows grow in its steps where `plan_windows` allows
            it. None keeps `roi_size`.
        mode: of the blending, as in MONAI.

    Raises:
        ValueError: in a call, if one window of `roi_size` does not fit into the memory.

    Example:
        >>> inferer = PlannedInferer((16, 16), base_channels=1, out_channels=2, overlap=0.25)
        >>> inferer(torch.zeros(1, 1, 40, 20), lambda window: torch.cat([window, window], 1)).shape
        torch.Size([1, 2, 40, 20])
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        base_channels: int,
        out_channels: int,
        memory_gib: float = 4.0,
        overlap: float = 0.35,
        sw_batch_size: int = 1,
        amp: bool = True,
        stride: int | None = None,
        mode: str = "gaussian",
    ) -> None:
        super().__init__(roi_size=tuple(roi_size), sw_batch_size=sw_batch_size, overlap=overlap, mode=mode)
        self.base_channels = base_channels
        self.out_channels = out_channels
        self.memory_gib = memory_gib
        self.amp = amp
        self.stride = stride
        self._asked = False

    @torch.no_grad()
    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Return the blended output for ``inputs`` of shape ``(B, C, *spatial)``, in float32."""
        kind = inputs.device.type
        amp = self.amp and multiplies_bfloat16(kind)
        weights = sum(p.numel() for p in network.parameters()) if amp and isinstance(network, nn.Module) else 0
        if amp and isinstance(network, nn.Module):
            run_wide_kernels_in_float32(network)
        plan, device = self._plan(inputs, amp, fixed_bytes=_FIXED_BYTES + 2 * weights)
        inferer = SlidingWindowInferer(
            plan.roi_size, plan.sw_batch_size, plan.overlap, self.mode, device=device, progress=self.progress
        )

        def run(window: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            fast = amp and self.amp
            with torch.autocast(kind, torch.bfloat16, enabled=fast):
                output = network(_channels_last(window) if fast else window, *args, **kwargs)
            return output.to(torch.float32, memory_format=torch.contiguous_format)

        def predict(window: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if amp and not self._asked:
                self._asked = True
                if not _computes_as_float32(network, window, self.stride, lambda part: run(part, *args, **kwargs)):
                    self.amp = False
                    logger.warning("In bfloat16 the network does not compute here what it does; float32 is used.")
            return run(window, *args, **kwargs)

        # The outer context keeps the weights' bfloat16 copies from window to window.
        with torch.autocast(kind, torch.bfloat16, enabled=False):
            return inferer(inputs.float(), predict, *args, **kwargs)

    def _plan(self, inputs: Tensor, amp: bool, fixed_bytes: int) -> tuple[Plan, str | None]:
        """Return the windows and the device of the sums."""
        per_channel = _BFLOAT16_BYTES if amp else _FLOAT32_BYTES
        per_voxel = per_channel * self.base_channels + _OUTPUT_BYTES * self.out_channels
        budget = self.memory_gib * 2**30 - fixed_bytes
        padded = math.prod(map(max, inputs.shape[2:], self.roi_size))
        # The sums of every channel and of the weights, and the volume where it is padded.
        sums = 4 * len(inputs) * padded * (self.out_channels + 1 + inputs.shape[1])
        device = None
        if inputs.is_cuda and budget - sums < per_voxel * math.prod(self.roi_size):
            device, sums = "cpu", 0
        needed = sums + per_voxel * math.prod(self.roi_size)
        if budget < needed:
            raise ValueError(
                f"memory_gib={self.memory_gib:g} is too little for windows of {list(self.roi_size)} on a volume of "
                f"{list(inputs.shape[2:])}; set it to at least {(needed + fixed_bytes) / 2**30:.2f}."
            )
        plan = plan_windows(
            inputs.shape[2:],
            self.roi_size,
            self.overlap,
            stride=self.stride,
            max_voxels=int((budget - sums) // per_voxel),
            sw_batch_size=self.sw_batch_size,
        )
        return plan, device


def _computes_as_float32(
    network: Callable[..., Tensor], window: Tensor, stride: int | None, fast: Callable[[Tensor], Tensor]
) -> bool:
    """Whether a window in bfloat16 gives the same numbers twice, and half of it those of float32."""
    if not _is_function(lambda: fast(window)):
        return False
    return not isinstance(network, nn.Module) or outputs_as_float32(network, _half(window, stride or 1), fast)


def _half(windows: Tensor, stride: int) -> Tensor:
    """Return half of the first window, in whole cells: in float32 the planned windows may not fit into the memory."""
    size = windows.shape[2:]
    axis = size.index(max(size))
    return windows[:1].narrow(axis + 2, 0, min(size[axis], -(-size[axis] // (2 * stride)) * stride))


def _is_function(run: Callable[[], Tensor]) -> bool:
    """Whether two calls give the same finite numbers, whatever memory held."""
    results = []
    for _ in range(2):
        soil_memory(torch.empty(2**power) for power in range(6, 20))
        results.append(run())
    return bool(torch.isfinite(results[0]).all()) and torch.equal(*results)


def _channels_last(window: Tensor) -> Tensor:
    memory_format = torch.channels_last_3d if window.ndim == 5 else torch.channels_last
    # Tensor.to would keep the strides of a window with one channel, and the network its slower layout.
    return torch.empty_like(window, memory_format=memory_format).copy_(window)
