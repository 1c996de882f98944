"""Are the gradients of an accelerated step those of float32?"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from medssl.engines.acceleration import Accelerated
from medssl.ops.distributed import sum_over_ranks

MIN_COSINE = 0.99
NORM_RANGE = (0.97, 1.03)
MIN_SHARE = 1e-6
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parity:
    """How near a gradient is to that of float32, over all weights of convolutions and linear layers together.

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

    def __str__(self) -> str:
        return f"cosine {self.cosine:.4f}, norm {self.norm_ratio:.4f} of that in float32"


def gradient_parity(reference: nn.Module, accelerated: nn.Module, batch: dict[str, Tensor]) -> Parity:
    """Compare the gradients that two ways to compute one method give for a batch.

    The batch norms of both work with an epsilon of 1 meanwhile. At random weights, with the usual 1e-5, they divide by
    deviations near 0 and turn any rounding into a large error: to round the images alone to bfloat16 turns the gradient
    of a 5-level pyramid to a cosine of 0.8 in float32, and no fault of a kernel could be told from that. With 1 the
    same layers, in the same mode, are well conditioned: correct bfloat16 gives cosines above 0.995.

    Every layer counts the same, its gradients taken in parts of the norm of the first: the few large ones, of the
    heads, would hide wrong ones of the backbone.

    Weights, gradients, buffers and the random state are afterwards what they were before. Ranks compare the gradients
    of all of them.

    Args:
        reference: the method, in float32.
        accelerated: the same method, whose weights come in the same order.
        batch: what both map to named losses.

    Example:
        >>> from medssl.methods.hierarchical import Hierarchical
        >>> from medssl.networks.fpn import FPN
        >>> from medssl.networks.heads import RestorationHead
        >>> method = Hierarchical(FPN(2, base_channels=4, num_levels=2), restoration_head=RestorationHead(2, 4))
        >>> view = torch.rand(2, 1, 8, 8)
        >>> batch = {"view_1": view, "view_2": view, "clean_1": view, "clean_2": view}
        >>> gradient_parity(method, Accelerated(method, channels_last=True), batch).holds
        True
    """
    pairs = zip(_gradients(reference, batch), _gradients(accelerated, batch), strict=True)
    products = torch.tensor([[_inner(a, a), _inner(a, b), _inner(b, b)] for a, b in pairs], dtype=torch.float64)
    # Over all ranks together, so that they come to one decision.
    own, shared, other = sum_over_ranks(products).T
    # Below, a gradient is rounding alone.
    counts = own >= MIN_SHARE**2 * own.max()
    norm_ratio = float((other[counts] / own[counts]).mean().sqrt())
    return Parity(cosine=float((shared[counts] / own[counts]).mean()) / norm_ratio, norm_ratio=norm_ratio)


class RequireGradientParity:
    """Handler that measures the parity of an accelerated step before the first one of a run, resumed or not.

    The measure takes part of the first batch and leaves no trace: the run goes on as if it had not been.

    Args:
        network: if it has no switch on, nothing is measured.
        num_samples: how many samples of the batch are taken, which bounds memory and time.

    Raises:
        ValueError: if the gradients are not those of float32; it says which switch is to blame.
    """

    def __init__(self, network: Accelerated, num_samples: int = 2) -> None:
        self.network = network
        self.num_samples = num_samples
        self.measured = False

    def attach(self, engine: Engine) -> None:
        """Measure once the first batch is there."""
        if self.network.switches:
            engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Measure, say the result, and refuse what is wrong."""
        if self.measured:
            return
        first = first_samples(engine.state.batch, self.num_samples)
        batch, _ = engine.prepare_batch(first, engine.state.device, engine.non_blocking, **engine.to_kwargs)
        parity = gradient_parity(self.network.without(*self.network.switches), self.network, batch)
        names = " + ".join(self.network.switches)
        if not parity.holds:
            raise ValueError(
                f"With {names}, the gradients are not those of float32: {parity}; a cosine of at least {MIN_COSINE} "
                f"and a norm of {NORM_RANGE[0]} to {NORM_RANGE[1]} are asked for. Set {self._remedy(batch)}."
            )
        logger.info("Gradients with %s: %s", names, parity)
        self.measured = True

    def _remedy(self, batch: dict[str, Tensor]) -> str:
        switches = self.network.switches
        # The last to be named is the first to be suspected.
        for name in reversed(switches):
            rest = self.network.without(name)
            if gradient_parity(rest.without(*rest.switches), rest, batch).holds:
                return f"--{name} false"
        return " ".join(f"--{name} false" for name in switches)


def first_samples(batch: dict[str, Any], count: int) -> dict[str, Any]:
    """Give the first samples of a batch of `medssl.data.sampling.collate`, with their voxels.

    Example:
        >>> batch = {"view_1": torch.zeros(3, 1, 8), "voxels_1": torch.tensor([[0, 5], [1, 4], [2, 3]])}
        >>> {key: len(value) for key, value in first_samples(batch, 2).items()}
        {'view_1': 2, 'voxels_1': 2}
    """
    return {
        key: value[value[:, 0] < count] if key.startswith("voxels_") else value[:count] for key, value in batch.items()
    }


def _gradients(module: nn.Module, batch: dict[str, Tensor]) -> list[Tensor]:
    """Give the gradients of all weights of convolutions and linear layers, zeros where there is none."""
    layers = [layer for layer in module.modules() if isinstance(layer, _ConvNd | nn.Linear)]
    weights = [layer.weight for layer in layers if layer.weight.requires_grad]
    with _without_trace(module, weights[0].device):
        loss = module.train()(batch)["loss"]
        _soil_memory(weights)
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
    return list(gradients)


def _inner(a: Tensor, b: Tensor) -> float:
    return float((a.double() * b.double()).sum())


@contextmanager
def _without_trace(module: nn.Module, device: torch.device) -> Iterator[None]:
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    kept = [norm.eps for norm in norms]
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    for norm in norms:
        norm.eps = 1.0
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            yield
    finally:
        for norm, eps in zip(norms, kept, strict=True):
            norm.eps = eps
        for buffer, value in buffers:
            buffer.copy_(value)


def _soil_memory(weights: list[Tensor]) -> None:
    # A kernel that leaves a part of its result unwritten is right as long as the memory is fresh: torch 2.13 does so on
    # the CPU for weights of bfloat16 convolutions over two voxels. What is freed here is what it gets.
    for dtype in (torch.float32, torch.bfloat16):
        soiled = [torch.full_like(weight, torch.nan, dtype=dtype) for weight in weights]
        del soiled
