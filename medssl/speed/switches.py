"""Switches that make a training step faster or smaller without changing what is computed."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from medssl.networks.fpn import ResidualStack
from medssl.speed.wide_kernels import run_wide_kernels_in_float32

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class Accelerated(nn.Module):
    """The losses of a method, computed with the switches that are on; with none it is the method itself.

    It stands between the trainer and the method, whose parameters and state stay its own: checkpoints and weights do
    not depend on the switches they were made with. `medssl.speed.gate` measures whether a step is that of float32.

    Args:
        method: maps a batch to named losses.
        amp: True computes convolutions and matrix products in bfloat16 (autocast), except those convolutions that CPU
            kernels get wrong (`medssl.speed.wide_kernels`). Never in float16, which is hundreds of times slower on a
            CPU, and needs the loss to be scaled on a GPU.
        channels_last: True stores weights and feature maps with the channels of a voxel side by side.
        activation_checkpointing: True keeps no activations within the residual stacks of an `FPN`, and computes them
            again in the backward pass.
        compile: True compiles the method with ``torch.compile``, for each size of batch.

    Attributes:
        switches: names of the switches that are on.

    Raises:
        ValueError: if `amp` is a precision other than bfloat16, if there is no residual stack whose activations could
            be recomputed, or if `activation_checkpointing` and `compile` are both on.

    Example:
        >>> from medssl.methods.hierarchical import Hierarchical
        >>> from medssl.networks.fpn import FPN
        >>> from medssl.networks.heads import RestorationHead
        >>> method = Hierarchical(FPN(2, base_channels=4, num_levels=2), restoration_head=RestorationHead(2, 4))
        >>> view = torch.rand(2, 1, 8, 8)
        >>> batch = {"view_1": view, "view_2": view, "clean_1": view, "clean_2": view}
        >>> exact, fast = (Accelerated(method, amp=amp)(batch)["loss"] for amp in (False, True))
        >>> fast.dtype, bool(abs(fast - exact) < 0.01 * exact)
        (torch.float32, True)
    """

    def __init__(
        self,
        method: nn.Module,
        amp: bool | str = False,
        channels_last: bool = False,
        activation_checkpointing: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if amp not in (True, False, "bfloat16"):
            raise ValueError(
                f"amp is {amp!r}, but it is true (bfloat16) or false: float16 is hundreds of times slower on a CPU, "
                "and its gradients vanish without a scaled loss."
            )
        stacks = [module for module in method.modules() if isinstance(module, ResidualStack)]
        if activation_checkpointing and not stacks:
            raise ValueError(
                "The method has no FPN whose activations could be recomputed: --activation_checkpointing false."
            )
        if activation_checkpointing and compile:
            raise ValueError("torch.compile chooses what it recomputes: --activation_checkpointing false.")
        switches = {
            "amp": amp,
            "channels_last": channels_last,
            "activation_checkpointing": activation_checkpointing,
            "compile": compile,
        }
        self.switches = tuple(name for name, value in switches.items() if value)
        self.method = method
        self._stacks = stacks if activation_checkpointing else []
        if amp:
            run_wide_kernels_in_float32(method)
        if channels_last:
            _store_channels_last(method)
        # A function of its own, because a compiled module would hold the parameters under a second name.
        self._run = torch.compile(self._losses, dynamic=False) if compile else self._losses

    def forward(self, batch: Any) -> Any:
        """Return what the method returns for a batch, its losses in float32."""
        if "channels_last" in self.switches:
            batch = {key: _channels_last(value) for key, value in batch.items()}
        device = next(self.method.parameters()).device.type
        # Without `amp` whatever autocast the trainer has set stays.
        precision = torch.autocast(device, torch.bfloat16) if "amp" in self.switches else nullcontext()
        with precision, self._recomputing():
            return self._run(batch)

    def turn_off(self, name: str) -> None:
        """Compute from now on without a switch that only concerns how a step is run, such as `amp`."""
        self.switches = tuple(switch for switch in self.switches if switch != name)

    def without(self, *names: str) -> "Accelerated":
        """Return a copy of the method with some of these switches off; without any it is plain and contiguous."""
        rest = {name: True for name in self.switches if name not in names}
        method = copy.deepcopy(self.method)
        for parameter in method.parameters():
            parameter.data = parameter.data.contiguous()
        return Accelerated(method, **rest)

    def _losses(self, batch: Any) -> Any:
        return self.method(batch)

    @contextmanager
    def _recomputing(self) -> Iterator[None]:
        # Set for this pass alone, so that the method itself stays plain.
        for stack in self._stacks:
            stack.recomputes = True
        try:
            yield
        finally:
            for stack in self._stacks:
                stack.recomputes = False


def multiplies_bfloat16(device_type: str) -> bool:
    """Say whether a kind of device, ``cpu`` or ``cuda``, has instructions for products of bfloat16 numbers."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device_type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _store_channels_last(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.dim() in CHANNELS_LAST:
            parameter.data = parameter.data.contiguous(memory_format=CHANNELS_LAST[parameter.dim()])


def _channels_last(value: Any) -> Any:
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.dim() not in CHANNELS_LAST:
        return value
    order = CHANNELS_LAST[value.dim()]
    if value.shape[1] > 1:
        return value.contiguous(memory_format=order)
    # `contiguous` would keep the strides of a single channel, which convolutions take for channels first. The values
    # lie in the same order either way.
    strides = torch.empty_like(value, device="meta", memory_format=order).stride()
    return value.contiguous().as_strided(value.shape, strides)
