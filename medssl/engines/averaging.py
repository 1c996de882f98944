"""A moving average of the weights, which ends better than the last step's."""

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medssl.runs.saved import save_instead


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Copy of a network that follows its weights and running statistics as an exponential moving average.

    The first update takes the weights as they are. Polyak & Juditsky (1992) is the idea, torch the implementation.

    Args:
        network: on its device.
        decay: share of the average that an update keeps; 0.99 is a mean over about the last 100 steps.

    Example:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> average = averaged(network, decay=0.5)
        >>> for weight in (1.0, 3.0):
        ...     _ = nn.init.constant_(network.weight, weight)
        ...     average.update_parameters(network)
        >>> average.module.weight.item()
        2.0
    """
    return _AverageOnDevice(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


class _AverageOnDevice(AveragedModel):
    """As torch's, which also copies the number of updates to the device at each one: the step would wait for that."""

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        pairs: dict[torch.dtype, list[tuple[Tensor, Tensor]]] = {}
        for ours, theirs in zip(_tensors(self.module), _tensors(model), strict=True):
            pairs.setdefault(ours.dtype, []).append((ours, theirs))
        for pairs_of_type in pairs.values():
            ours, theirs = map(list, zip(*pairs_of_type, strict=True))
            if self.n_averaged == 0:
                torch._foreach_copy_(ours, theirs)
            else:
                self.multi_avg_fn(ours, theirs, 0)
        self.n_averaged += 1


def _tensors(network: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*network.parameters(), *network.buffers())]


class AverageWeights:
    """Handler that takes the weights into their average after every step.

    Where the run saves or probes that network by itself, it then takes the average (`medssl.runs.saved`).

    Args:
        average: as `averaged` makes it; belongs into the checkpoint.
        network: whose weights are averaged.
    """

    def __init__(self, average: AveragedModel, network: nn.Module) -> None:
        self.average = average
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Average after each optimizer step, before anything is validated or saved."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        save_instead(engine, self.network, self.average.module)

    def __call__(self, engine: Engine) -> None:
        """Take the weights of this step in."""
        self.average.update_parameters(self.network)
