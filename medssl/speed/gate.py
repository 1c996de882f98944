"""Does an accelerated step compute what float32 does?

The rule: a switch may round to bfloat16, and change nothing else. It is measured twice.

Layer by layer: with `amp`, every convolution and linear layer that is given the same rounded numbers has the output and
the gradients of float32, with cosines of at least 0.999 and norms within 1 %. Nothing is amplified there, so a wrong
kernel stands out, and its layer is named.

As a whole: loss and gradients of the step agree with those of float32 within the same bounds or, with `amp`, are at
most twice as far off as rounding alone takes them: twice, since two roundings may point apart. Rounding alone is the
same network computed by float32 kernels from rounded numbers. This sees what lies between the layers. In networks that
amplify rounding until it hides more than a quarter of the gradient it sees little, and the layers decide; a compiled
step, of which no layer can be taken alone, is refused there.

Every result is computed twice, in memory full of NaN: a kernel that leaves a part unwritten is wrong only where memory
was used before. Inference, which has no gradients, is judged by its outputs as a whole.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn

from medssl.ops.distributed import sum_over_ranks
from medssl.speed.parity import (
    ASKED,
    Parity,
    Step,
    layers_judged,
    measured_step,
    rounded,
    soil_memory,
    step_parities,
    tensor_parity,
)
from medssl.speed.switches import Accelerated, multiplies_bfloat16

MAX_ROUNDING = 0.25
logger = logging.getLogger(__name__)


class RequireGradientParity:
    """Handler that refuses a run, resumed or not, before its first step if that is not the step of float32.

    It measures on part of the first batch, by the rule of this module, and leaves no trace: the run continues as if
    nothing had been measured. Where the processor has no instructions for bfloat16, `amp` is turned off with a warning
    first: emulated, a step takes many times as long as in float32, and some kernels of torch 2.13 end the process.

    Args:
        network: if it has no switch on, nothing is measured.
        num_samples: how many samples of the batch are taken, which bounds memory and time.

    Raises:
        ValueError: if the step is not that of float32; it names the layers, if any, and the switch to turn off.
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
        """Measure, log the result, and refuse what is wrong."""
        if self.measured:
            return
        if "amp" in self.network.switches and _some_rank_emulates_bfloat16(engine.state.device):
            logger.warning("This processor has no instructions for bfloat16: amp is off, steps stay in float32.")
            self.network.turn_off("amp")
        if self.network.switches:
            self._measure(engine)
        self.measured = True

    def _measure(self, engine: Engine) -> None:
        first = first_samples(engine.state.batch, self.num_samples)
        batch, _ = engine.prepare_batch(first, engine.state.device, engine.non_blocking, **engine.to_kwargs)
        good, report = computes_as_float32(self.network, batch)
        names = " + ".join(self.network.switches)
        if not good:
            raise ValueError(
                f"With {names}, the gradients are not those of float32: {report}. Set {self._remedy(batch)}."
            )
        logger.info("Gradients with %s: %s", names, report)

    def _remedy(self, batch: dict[str, Tensor]) -> str:
        switches = self.network.switches
        # The last to be named is the first to be suspected.
        for name in reversed(switches):
            if computes_as_float32(self.network.without(name), batch)[0]:
                return f"--{name} false"
        return " ".join(f"--{name} false" for name in switches)


def _some_rank_emulates_bfloat16(device: torch.device) -> bool:
    return bool(sum_over_ranks(torch.tensor([float(not multiplies_bfloat16(device.type))], device=device)).item())


def computes_as_float32(network: Accelerated, batch: dict[str, Tensor]) -> tuple[bool, str]:
    """Whether a step computes what float32 does, by the rule of this module, and what was measured, in words.

    All ranks come to one decision.

    Args:
        network: the method with its switches.
        batch: what it maps to named losses.
    """
    switches = network.switches
    plain = network.without(*switches)
    layer_by_layer = "amp" in switches and "compile" not in switches
    if layer_by_layer:
        with layers_judged(plain, "channels_last" in switches) as right:
            exact = measured_step(plain, batch)
        wrong = sorted(name.removeprefix("method.") for name in right if not right[name])
        if sum_over_ranks(torch.tensor([float(len(wrong))])).item():
            return False, f"alone, {len(wrong)} of {len(right)} layers compute something else: {', '.join(wrong)}"
    else:
        exact = measured_step(plain, batch)
    rounding = _rounding(plain, batch, exact) if "amp" in switches else Parity(1.0, 1.0)
    if not layer_by_layer and not rounding.distance <= MAX_ROUNDING:
        return False, f"rounding alone makes it {rounding}, so that a compiled step cannot be judged"
    good, report = _whole(network, batch, exact, rounding)
    return good, f"{report}; each of {len(right)} layers alone agrees" if good and layer_by_layer else report


@torch.no_grad()
def outputs_as_float32(network: nn.Module, x: Tensor, fast: Callable[[Tensor], Tensor]) -> bool:
    """Whether the outputs of a network are those of float32, by the rule of this module for a whole step.

    Args:
        network: in float32.
        x: its input.
        fast: the same network with switches.

    Example:
        >>> network = nn.Conv2d(1, 2, 3)
        >>> [outputs_as_float32(network, torch.ones(1, 1, 8, 8), fast) for fast in (network, lambda x: 2 * network(x))]
        [True, False]
    """
    exact = network(x)
    measured = []
    for _ in range(ASKED):
        soil_memory([x, exact, *(torch.empty(2**power, device=x.device) for power in range(6, 19))])
        measured.append(tensor_parity(exact, fast(x)))
    worst = max(measured, key=lambda parity: parity.distance)
    return worst.holds or worst.distance <= 2 * tensor_parity(exact, rounded(network)(x)).distance


def _rounding(plain: Accelerated, batch: dict[str, Tensor], exact: Step) -> Parity:
    return step_parities(exact, measured_step(rounded(plain), batch))[1]


def _whole(network: Accelerated, batch: dict[str, Tensor], exact: Step, rounding: Parity) -> tuple[bool, str]:
    measured = [step_parities(exact, measured_step(network, batch)) for _ in range(ASKED)]
    loss, gradients = (max(parities, key=lambda parity: parity.distance) for parities in zip(*measured, strict=True))
    good = all(parity.holds or parity.distance <= 2 * rounding.distance for parity in (loss, gradients))
    allowed = f" (rounding alone: {rounding.cosine:.4f}, {rounding.norm_ratio:.4f})" if rounding.distance else ""
    return good, f"{gradients}{allowed}, loss {loss.norm_ratio:.4f} of it"


def first_samples(batch: dict[str, Any], count: int) -> dict[str, Any]:
    """The first samples of a batch of `medssl.data.sampling.collate`, with their voxels.

    Example:
        >>> batch = {"view_1": torch.zeros(3, 1, 8), "voxels_1": torch.tensor([[0, 5], [1, 4], [2, 3]])}
        >>> {key: len(value) for key, value in first_samples(batch, 2).items()}
        {'view_1': 2, 'voxels_1': 2}
    """
    return {
        key: value[value[:, 0] < count] if key.startswith("voxels_") else value[:count] for key, value in batch.items()
    }
