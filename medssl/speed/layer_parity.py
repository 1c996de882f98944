"""Does every layer of a network, on its own, compute the gradients of float32?"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from medssl.speed.gradient_parity import soil_memory, weight_gradients
from medssl.speed.switches import CHANNELS_LAST

MIN_COSINE = 0.999
NORM_RANGE = (0.99, 1.01)


@dataclass(frozen=True)
class LayerCall:
    """What a layer got in one pass of a network: its input, and the gradient of its output."""

    name: str
    layer: nn.Module
    input: Tensor
    gradient: Tensor


def unlike_layers(method: nn.Module, batch: dict[str, Tensor], channels_last: bool) -> tuple[list[str], int]:
    """Return the names of the layers whose gradients in bfloat16 are not those of float32, and how many there are.

    Every convolution and linear layer is taken alone, with the input and the gradient of its output that it has in the
    method. Those numbers and its weights are rounded to bfloat16 for both, so what is compared is what the kernels make
    of them: cosines of 0.99999 are usual, 0.999 is asked for. The gradients of a whole network tell less, since at
    random weights a deep one amplifies rounding.

    Args:
        method: in float32, which is afterwards what it was before.
        batch: what it maps to named losses.
        channels_last: whether the layers are to hold the channels of a voxel side by side.

    Example:
        >>> from medssl.methods.simclr import SimCLR
        >>> from medssl.networks.resnet import ResNet
        >>> view = torch.rand(2, 1, 64, 64)
        >>> unlike_layers(SimCLR(ResNet(depth=10, base_channels=4)), {"view_1": view, "view_2": view}, False)
        ([], 14)
    """
    with recorded_calls(method) as calls:
        weight_gradients(method, batch)
    # Views of one size go through the same kernels.
    distinct = {(call.name, call.input.shape): call for call in calls}.values()
    unlike = {call.name for call in distinct if not _alike(call, channels_last)}
    return sorted(unlike), len({call.name for call in distinct})


def _alike(call: LayerCall, channels_last: bool) -> bool:
    gradients = (layer_gradients(call, amp, channels_last) for amp in (False, True))
    return all(_same(exact, fast) for exact, fast in zip(*gradients, strict=True))


def _same(exact: Tensor, fast: Tensor) -> bool:
    if not exact.any():
        return not fast.any()
    own, shared, other = (
        float((a * b).sum(dtype=torch.float64)) for a, b in ((exact, exact), (exact, fast), (fast, fast))
    )
    norm_ratio = (other / own) ** 0.5
    return shared / own >= MIN_COSINE * norm_ratio and NORM_RANGE[0] <= norm_ratio <= NORM_RANGE[1]


@contextmanager
def recorded_calls(network: nn.Module) -> Iterator[list[LayerCall]]:
    """Give the list that gets the calls of all convolutions and linear layers of a network within a block.

    A call is there once its gradient is known.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> with recorded_calls(network) as calls:
        ...     network(torch.ones(4, 2)).sum().backward()
        >>> [(call.name, tuple(call.input.shape), tuple(call.gradient.shape)) for call in calls]
        [('2', (4, 3), (4, 1)), ('0', (4, 2), (4, 3))]
    """
    calls: list[LayerCall] = []
    handles: list[RemovableHandle] = []

    def record(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.requires_grad:
            x = inputs[0].detach()
            output.register_hook(lambda gradient: calls.append(LayerCall(name, layer, x, gradient)))

    for name, layer in network.named_modules():
        if isinstance(layer, _ConvNd | nn.Linear):
            handles.append(layer.register_forward_hook(lambda *call, name=name: record(name, *call)))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def layer_gradients(call: LayerCall, amp: bool, channels_last: bool) -> list[Tensor]:
    """Return the gradients of input and weight of a layer for a recorded call whose numbers are rounded to bfloat16.

    Args:
        call: of a layer of float32.
        amp: compute in bfloat16, under autocast; otherwise in float32 from the same rounded numbers.
        channels_last: hold input and weight with the channels of a voxel side by side.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> call = LayerCall("0", layer, torch.ones(4, 2), torch.ones(4, 1))
        >>> [tuple(gradient.shape) for gradient in layer_gradients(call, amp=True, channels_last=False)]
        [(4, 2), (1, 2)]
    """
    layer = copy.deepcopy(call.layer)
    order = CHANNELS_LAST.get(layer.weight.dim()) if channels_last else None
    for parameter in layer.parameters():
        parameter.data = _rounded(parameter.data)
    if order is not None:
        layer.weight.data = layer.weight.data.contiguous(memory_format=order)
    x, gradient = _rounded(call.input), _rounded(call.gradient)
    x = (x if order is None else x.contiguous(memory_format=order)).requires_grad_()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=amp):
        y = layer(x)
    soil_memory([layer.weight])
    return list(torch.autograd.grad(y, (x, layer.weight), gradient.to(y.dtype)))


def _rounded(x: Tensor) -> Tensor:
    return x.bfloat16().float()
