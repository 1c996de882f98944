"""How near two ways to compute a step, or one layer of it, are to each other."""

import copy
import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from medssl.ops.distributed import sum_over_ranks
from medssl.speed.switches import CHANNELS_LAST

MIN_COSINE = 0.999
MAX_NORM_DIFFERENCE = 0.01
# Of batch norms while a whole step is measured, and the share of the largest gradient below which one is rounding.
EPSILON = 1.0
MIN_SHARE = 1e-6
# How far off the gradient of a bias may be, in parts of the sum of the absolute values that it adds up. In front of a
# batch norm they cancel, and what float32 gives is rounding too.
MAX_SUM_ERROR = 1e-3
ASKED = 2


@dataclass(frozen=True)
class Parity:
    """How near a result is to that of float32.

    Attributes:
        cosine: of the angle between the two.
        norm_ratio: its norm in parts of that of float32.

    Example:
        >>> Parity(cosine=0.9999, norm_ratio=1.001).holds, Parity(cosine=0.9999, norm_ratio=0.5).holds
        (True, False)
    """

    cosine: float
    norm_ratio: float

    @property
    def holds(self) -> bool:
        """Whether one may be taken for the other: a cosine of at least 0.999, norms within 1 %."""
        return self.cosine >= MIN_COSINE and abs(self.norm_ratio - 1) <= MAX_NORM_DIFFERENCE

    @property
    def distance(self) -> float:
        """Norm of the difference in parts of the norm in float32; infinite if it is not a number."""
        square = 1 + self.norm_ratio**2 - 2 * self.norm_ratio * self.cosine
        return math.inf if math.isnan(square) else max(square, 0.0) ** 0.5

    def __str__(self) -> str:
        return f"cosine {self.cosine:.4f}, norm {self.norm_ratio:.4f} of that in float32"


@dataclass(frozen=True)
class Step:
    """What one pass forward and backward gives: its loss, and the gradients of the weights of its layers."""

    loss: Tensor
    gradients: list[Tensor]


def measured_step(module: nn.Module, batch: dict[str, Tensor]) -> Step:
    """Loss and gradients of a method in training mode, computed in memory full of NaN, which leave no trace.

    The gradients are those of the weights of convolutions and linear layers, zeros where there is none. The batch norms
    work with an epsilon of 1 meanwhile. At random weights, with the usual 1e-5, they divide by deviations near 0: to
    round the images alone to bfloat16 then turns the gradient of a 5-level pyramid to a cosine of 0.8 in float32, and
    no fault of a kernel could be told from that. Weights, buffers and the random state are afterwards what they were.

    Args:
        module: a method, with or without switches.
        batch: what it maps to named losses.
    """
    weights = [layer.weight for layer in module.modules() if _multiplies(layer) and layer.weight.requires_grad]
    with _without_trace(module, weights[0].device):
        soil_memory([*weights, *(torch.empty(2**power, device=weights[0].device) for power in range(6, 19))])
        loss = module.train()(batch)["loss"]
        soil_memory(weights)
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
    return Step(loss.detach(), list(gradients))


def step_parities(exact: Step, fast: Step) -> tuple[Parity, Parity]:
    """Parity of the losses of two steps, and that of their gradients, over all ranks together.

    Every layer counts the same, its gradient taken in parts of the norm in `exact`: the few large ones, of the heads,
    would hide wrong ones of the backbone. Those below a millionth of the largest are rounding, and left out.

    Example:
        >>> exact = Step(torch.tensor(2.0), [torch.ones(3), torch.ones(2)])
        >>> loss, gradients = step_parities(exact, Step(torch.tensor(3.0), [torch.ones(3), -torch.ones(2)]))
        >>> loss.norm_ratio, gradients.cosine
        (1.5, 0.0)
    """
    pairs = zip([exact.loss, *exact.gradients], [fast.loss, *fast.gradients], strict=True)
    # Over all ranks together, so that they come to one decision.
    products = sum_over_ranks(torch.tensor([_products(a, b) for a, b in pairs], dtype=torch.float64))
    gradients = products[1:]
    counts = gradients[:, 0] >= MIN_SHARE**2 * gradients[:, 0].max()
    return _parity(products[:1]), _parity(gradients[counts])


def tensor_parity(exact: Tensor, fast: Tensor) -> Parity:
    """Parity of one tensor with the same in float32.

    Example:
        >>> tensor_parity(torch.ones(4), 2 * torch.ones(4))
        Parity(cosine=1.0, norm_ratio=2.0)
    """
    return _parity(torch.tensor([_products(exact, fast)], dtype=torch.float64))


def rounded(module: nn.Module) -> nn.Module:
    """Copy of a method whose layers round to bfloat16 what they get and give, but compute in float32.

    It shows what rounding alone does to a step, since no kernel of bfloat16 takes part. Convolutions, linear layers and
    batch norms round their inputs and outputs and the gradients of both; of the first two the weights are rounded too.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 1.001)
        >>> rounded(layer)(torch.ones(1, 1)).item()
        1.0
    """
    module = copy.deepcopy(module)
    for layer in module.modules():
        if _multiplies(layer):
            layer.weight.data = _round(layer.weight.data)
        if _multiplies(layer) or isinstance(layer, _BatchNorm):
            layer.register_forward_pre_hook(lambda layer, inputs: (_round(inputs[0]), *inputs[1:]))
            layer.register_forward_hook(lambda layer, inputs, output: _round(output))
    return module


@contextmanager
def layers_judged(network: nn.Module, channels_last: bool) -> Iterator[dict[str, bool]]:
    """Mapping from the name of each layer that takes part in a pass within the block to whether bfloat16 gets it right.

    Each convolution and linear layer of the network, which is in float32, is taken alone when the gradient of its
    output is known, and computed again from the same numbers (`layer_parities`). Maps of one size go through the same
    kernels, so a layer is taken once for each size. Nothing is kept of a layer that has been judged.

    Args:
        network: a method in float32.
        channels_last: whether the layers are to hold the channels of a voxel side by side.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> with layers_judged(network, channels_last=False) as right:
        ...     network(torch.ones(4, 2)).sum().backward()
        >>> right
        {'2': True, '0': True}
    """
    right: dict[str, bool] = {}
    seen: set[tuple[str, torch.Size]] = set()

    def judge(name: str, layer: nn.Module, x: Tensor, gradient: Tensor) -> None:
        right[name] = right.get(name, True) and all(p.holds for p in layer_parities(layer, x, gradient, channels_last))

    def record(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.requires_grad and (name, inputs[0].shape) not in seen:
            seen.add((name, inputs[0].shape))
            x = inputs[0].detach()
            output.register_hook(lambda gradient: judge(name, layer, x, gradient))

    named = [(name, layer) for name, layer in network.named_modules() if _multiplies(layer)]
    handles = [layer.register_forward_hook(lambda *call, name=name: record(name, *call)) for name, layer in named]
    try:
        yield right
    finally:
        for handle in handles:
            handle.remove()


def layer_parities(layer: nn.Module, x: Tensor, gradient: Tensor, channels_last: bool) -> list[Parity]:
    """Parities of what a layer gives in bfloat16: its output, and the gradients of its input and parameters, twice.

    Input, output gradient and parameters are rounded to bfloat16 for both, so what is compared is what the kernels make
    of the same numbers. A kernel that rounds its result once has a cosine of 0.99999.

    Args:
        layer: of float32.
        x: its input.
        gradient: that of its output.
        channels_last: hold input and weight with the channels of a voxel side by side.

    Example:
        >>> [p.holds for p in layer_parities(nn.Linear(2, 1, bias=False), torch.ones(4, 2), torch.ones(4, 1), False)]
        [True, True, True, True, True, True]
    """
    layer = copy.deepcopy(layer)
    order = CHANNELS_LAST.get(layer.weight.dim()) if channels_last else None
    for parameter in layer.parameters():
        parameter.data = _round(parameter.data)
    x, gradient = _round(x), _round(gradient)
    exact = _layer_results(layer, x, gradient, amp=False)
    if order is not None:
        layer.weight.data = layer.weight.data.contiguous(memory_format=order)
        x = x.contiguous(memory_format=order)
    # A result that depends on what memory held need not be wrong each time.
    asked = [_layer_results(layer, x, gradient, amp=True) for _ in range(ASKED)]
    floor = MAX_SUM_ERROR * float(gradient.abs().sum())
    return [
        Parity(1.0, 1.0) if a.dim() == 1 and float((a - b).norm()) <= floor else tensor_parity(a, b)
        for fast in asked
        for a, b in zip(exact, fast, strict=True)
    ]


def _layer_results(layer: nn.Module, x: Tensor, gradient: Tensor, amp: bool) -> list[Tensor]:
    x = x.detach().requires_grad_()
    alike = [x, gradient, layer.weight] if amp else []
    with torch.enable_grad():
        soil_memory(alike)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=amp):
            y = layer(x)
        soil_memory(alike)
        sources = [x, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]
        return [y.detach(), *torch.autograd.grad(y, sources, gradient.to(y.dtype))]


def soil_memory(alike: Iterable[Tensor]) -> None:
    """Leave memory full of NaN behind, of the sizes of some tensors, for what comes next.

    A kernel that leaves a part of its result unwritten seems right as long as the memory it gets is fresh.
    """
    tensors = list(alike)
    # Larger blocks come from the system each time, full of zeros.
    sizes = {tensor.numel() for tensor in tensors if tensor.numel() <= 2**23}
    soiled = [
        torch.full((size,), torch.nan, dtype=dtype, device=tensors[0].device)
        for size, dtype, _ in itertools.product(sizes, (torch.float32, torch.bfloat16), range(2))
    ]
    del soiled


def _multiplies(layer: nn.Module) -> bool:
    return isinstance(layer, _ConvNd | nn.Linear)


def _round(x: Tensor) -> Tensor:
    return x.bfloat16().float()


def _products(exact: Tensor, fast: Tensor) -> list[float]:
    a, b = exact.double(), fast.double()
    return [float((a * a).sum()), float((a * b).sum()), float((b * b).sum())]


def _parity(products: Tensor) -> Parity:
    own, shared, other = products.T
    if not own.any():
        return Parity(1.0, 1.0) if not other.any() else Parity(0.0, torch.inf)
    norm_ratio = (other / own).mean().sqrt()
    return Parity(cosine=((shared / own).mean() / norm_ratio).item(), norm_ratio=norm_ratio.item())


@contextmanager
def _without_trace(module: nn.Module, device: torch.device) -> Iterator[None]:
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    kept = [norm.eps for norm in norms]
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    for norm in norms:
        norm.eps = EPSILON
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            yield
    finally:
        for norm, eps in zip(norms, kept, strict=True):
            norm.eps = eps
        for buffer, value in buffers:
            buffer.copy_(value)
