"""Are the gradients of an accelerated step those of float32?"""

import logging
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from medssl.ops.distributed import sum_over_ranks
from medssl.speed.gradient_parity import MIN_COSINE, NORM_RANGE, Parity, gradient_parity
from medssl.speed.layer_parity import unlike_layers
from medssl.speed.switches import Accelerated

# Of batch norms: for residual networks, for plain ones, and for residual ones of 50 layers before a queue.
EPSILONS = (1.0, 0.3, 0.1, 100.0)
logger = logging.getLogger(__name__)


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
        good, report = has_gradients_of_float32(self.network, batch)
        names = " + ".join(self.network.switches)
        if not good:
            raise ValueError(
                f"With {names}, the gradients are not those of float32: {report}; a cosine of at least {MIN_COSINE} "
                f"and a norm of {NORM_RANGE[0]} to {NORM_RANGE[1]} are asked for. Set {self._remedy(batch)}."
            )
        logger.info("Gradients with %s: %s", names, report)
        self.measured = True

    def _remedy(self, batch: dict[str, Tensor]) -> str:
        switches = self.network.switches
        # The last to be named is the first to be suspected.
        for name in reversed(switches):
            if has_gradients_of_float32(self.network.without(name), batch)[0]:
                return f"--{name} false"
        return " ".join(f"--{name} false" for name in switches)


def has_gradients_of_float32(network: Accelerated, batch: dict[str, Tensor]) -> tuple[bool, str]:
    """Return whether the gradients of a step are those of float32, and what was measured, in words.

    They are if all weights together pass `gradient_parity`. In bfloat16 they are too if they resemble those of float32
    at an epsilon that suits the network (`best_parity`), pass without bfloat16, and every layer passes alone
    (`unlike_layers`): then rounding has turned them. Of a compiled step no layer can be taken alone, and it is measured
    with the first epsilon only, since each takes a compilation. All ranks come to one decision.

    Args:
        network: the method with its switches.
        batch: what it maps to named losses.
    """
    switches = network.switches
    parity, epsilon = best_parity(network, batch)
    # Another epsilon may shrink the gradients of a layer until they count for nothing: there the layers are asked too.
    if "amp" not in switches or "compile" in switches or (epsilon == EPSILONS[0] and parity.holds):
        return parity.holds, str(parity)
    if not parity.resembles or not best_parity(network.without("amp"), batch)[0].holds:
        return False, str(parity)
    unlike, number = unlike_layers(network.without(*switches), batch, "channels_last" in switches)
    if sum_over_ranks(torch.tensor([float(len(unlike))])).item():
        return False, f"{parity}, and of {number} layers, each alone, other gradients in {', '.join(unlike) or 'none'}"
    whole = f"{parity} as a whole, its batch norms with an epsilon of {epsilon:g}"
    return True, f"{whole}; each of the {number} layers alone has those of float32"


def best_parity(network: Accelerated, batch: dict[str, Tensor]) -> tuple[Parity, float]:
    """Return the first parity that holds over the epsilons at which networks are well conditioned, or else the nearest.

    With it comes its epsilon.

    Args:
        network: the method with its switches.
        batch: what it maps to named losses.
    """
    plain = network.without(*network.switches)
    found = []
    for epsilon in EPSILONS[: 1 if "compile" in network.switches else None]:
        found.append((gradient_parity(plain, network, batch, epsilon), epsilon))
        if found[-1][0].holds:
            return found[-1]
    return max(found, key=lambda pair: pair[0].cosine)


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
