"""Convolutions whose kernel covers their input: on a CPU in float32, since bfloat16 gets them wrong."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


def run_wide_kernels_in_float32(module: nn.Module) -> None:
    """Make the convolutions of a module compute in float32 under CPU autocast where the kernel covers the input.

    With torch 2.13 on a CPU, a bfloat16 convolution whose kernel is as wide as its input along an axis, or wider, may
    leave parts of its weight's gradient unwritten or write beyond it, and on CPUs with AMX leave parts of its output
    unwritten: the result is whatever memory held, if the process lives. A kernel of 3 does so on maps of one or two
    voxels, one of 7 on up to seven, depending on axis, stride and CPU; on larger maps none was wrong. Such maps are
    the last ones of a network, so float32 costs little.

    Names, parameters and state of the module stay what they are, and so does all it computes without autocast.

    Args:
        module: changed in place; running this twice changes no more than running it once.

    Example:
        >>> conv = nn.Conv3d(2, 4, 3, stride=2, padding=1)
        >>> run_wide_kernels_in_float32(conv)
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     conv(torch.rand(1, 2, 8, 8, 2)).dtype, conv(torch.rand(1, 2, 8, 8, 4)).dtype
        (torch.float32, torch.bfloat16)
    """
    for layer in module.modules():
        # A class of its own rather than hooks or a context: it holds in recomputed and compiled passes and in copies.
        if isinstance(layer, _ConvNd) and not isinstance(layer, _Float32IfWide):
            layer.__class__ = _with_float32(type(layer))


def is_wide(layer: _ConvNd, size: Sequence[int]) -> bool:
    """Whether the kernel of a convolution, dilation included, covers its input along an axis.

    A kernel of one voxel never does: it mixes no neighbours.

    Args:
        layer: of any number of spatial dimensions.
        size: of the input along each of them.

    Example:
        >>> conv = nn.Conv2d(1, 1, 3)
        >>> is_wide(conv, (8, 3)), is_wide(conv, (8, 4))
        (True, False)
    """
    extents = (dilation * (kernel - 1) + 1 for kernel, dilation in zip(layer.kernel_size, layer.dilation, strict=True))
    return any(extent > 1 and extent >= length for extent, length in zip(extents, size, strict=True))


class _Float32IfWide(nn.Module):
    def forward(self, x: Tensor, *args: Any) -> Tensor:
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and is_wide(self, x.shape[2:]):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float(), *args)
        return super().forward(x, *args)


@functools.cache
def _with_float32(kind: type[_ConvNd]) -> type[_ConvNd]:
    return type(kind.__name__, (_Float32IfWide, kind), {})
