"""How near the gradients of an accelerated step are to those of float32."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from medssl.ops.distributed import sum_over_ranks

MIN_COSINE = 0.99
NORM_RANGE = (0.97, 1.03)
ROUGH_COSINE = 0.9
ROUGH_NORM_RANGE = (0.9, 1.1)
MIN_SHARE = 1e-6


@dataclass(frozen=True)
class Parity:
    """How near a gradient is to that of float32.

    Attributes:
        cosine: of the angle between the two.
        norm_ratio: its norm in parts of that of float32.

    Example:
        >>> Parity(cosine=0.999, norm_ratio=1.01).holds, Parity(cosine=0.999, norm_ratio=0.5).holds
        (True, False)
    """

    cosine: float
    norm_ratio: float

    @property
    def holds(self) -> bool:
        """Whether one may be taken for the other: a cosine of at least 0.99, norms within 3 %."""
        return self.cosine >= MIN_COSINE and NORM_RANGE[0] <= self.norm_ratio <= NORM_RANGE[1]

    @property
    def resembles(self) -> bool:
        """Whether it points roughly the same way: a cosine of at least 0.9, norms within 10 %."""
        return self.cosine >= ROUGH_COSINE and ROUGH_NORM_RANGE[0] <= self.norm_ratio <= ROUGH_NORM_RANGE[1]

    def __str__(self) -> str:
        return f"cosine {self.cosine:.4f}, norm {self.norm_ratio:.4f} of that in float32"


def gradient_parity(
    reference: nn.Module, accelerated: nn.Module, batch: dict[str, Tensor], epsilon: float = 1.0
) -> Parity:
    """Compare the gradients that two ways to compute one method give for a batch, over all its weights together.

    The weights are those of its convolutions and linear layers.

    The batch norms of both work with another epsilon meanwhile. At random weights, with the usual 1e-5, they divide by
    deviations near 0 and turn any rounding into a large error: to round the images alone to bfloat16 turns the gradient
    of a 5-level pyramid to a cosine of 0.8 in float32, and no fault of a kernel could be told from that. With 1 the
    same layers, in the same mode, are well conditioned: correct bfloat16 gives cosines above 0.995. Networks without
    residual connections need a smaller one, since each of their layers shrinks what differs between images; deep
    residual ones a larger one.

    Every layer counts the same, its gradients taken in parts of the norm of the first: the few large ones, of the
    heads, would hide wrong ones of the backbone.

    Weights, gradients, buffers and the random state are afterwards what they were before. Ranks compare the gradients
    of all of them.

    Args:
        reference: the method, in float32.
        accelerated: the same method, whose weights come in the same order.
        batch: what both map to named losses.
        epsilon: of the batch norms.

    Example:
        >>> from medssl.speed.switches import Accelerated
        >>> from medssl.methods.hierarchical import Hierarchical
        >>> from medssl.networks.fpn import FPN
        >>> from medssl.networks.heads import RestorationHead
        >>> method = Hierarchical(FPN(2, base_channels=4, num_levels=2), restoration_head=RestorationHead(2, 4))
        >>> view = torch.rand(2, 1, 8, 8)
        >>> batch = {"view_1": view, "view_2": view, "clean_1": view, "clean_2": view}
        >>> gradient_parity(method, Accelerated(method, channels_last=True), batch).holds
        True
    """
    pairs = zip(*(weight_gradients(module, batch, epsilon) for module in (reference, accelerated)), strict=True)
    products = torch.tensor([[_inner(a, a), _inner(a, b), _inner(b, b)] for a, b in pairs], dtype=torch.float64)
    # Over all ranks together, so that they come to one decision.
    own, shared, other = sum_over_ranks(products).T
    # Below, a gradient is rounding alone.
    counts = own >= MIN_SHARE**2 * own.max()
    norm_ratio = (other[counts] / own[counts]).mean().sqrt()
    cosine = (shared[counts] / own[counts]).mean() / norm_ratio
    return Parity(cosine=cosine.item(), norm_ratio=norm_ratio.item())


def weight_gradients(module: nn.Module, batch: dict[str, Tensor], epsilon: float | None = None) -> list[Tensor]:
    """Return the gradients of all weights of convolutions and linear layers, zeros where there is none.

    The module is afterwards what it was before.

    Args:
        module: a method, in training mode or not.
        batch: what it maps to named losses.
        epsilon: of its batch norms meanwhile; None leaves theirs.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _ConvNd | nn.Linear)]
    weights = [layer.weight for layer in layers if layer.weight.requires_grad]
    with _without_trace(module, weights[0].device, epsilon):
        loss = module.train()(batch)["loss"]
        soil_memory(weights)
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
    return list(gradients)


def _inner(a: Tensor, b: Tensor) -> float:
    return float((a.double() * b.double()).sum())


def soil_memory(weights: Sequence[Tensor]) -> None:
    """Leave memory full of NaN behind, of the size of some weights: what is allocated next gets it."""
    # A kernel that leaves a part of its result unwritten is right as long as the memory is fresh: torch 2.13 does so on
    # the CPU for weights of bfloat16 convolutions over two voxels.
    for dtype in (torch.float32, torch.bfloat16):
        soiled = [torch.full_like(weight, torch.nan, dtype=dtype) for weight in weights]
        del soiled


@contextmanager
def _without_trace(module: nn.Module, device: torch.device, epsilon: float | None) -> Iterator[None]:
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    kept = [norm.eps for norm in norms]
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    for norm in norms:
        norm.eps = norm.eps if epsilon is None else epsilon
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            yield
    finally:
        for norm, eps in zip(norms, kept, strict=True):
            norm.eps = eps
        for buffer, value in buffers:
            buffer.copy_(value)
