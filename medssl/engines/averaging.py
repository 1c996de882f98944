"""A moving average of the weights, which ends better than the last step's."""

from ignite.engine import Engine, Events
from torch import nn
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
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


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
