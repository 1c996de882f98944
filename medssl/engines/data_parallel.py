"""Gradients and losses averaged over the ranks."""

import torch
import torch.distributed as dist
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from medssl.networks.batch_norm import synchronise_batch_norm
from medssl.runs.ranks import rank_device


def data_parallel(network: nn.Module, unused_parameters: bool = False) -> DistributedDataParallel:
    """Return a network that averages the gradients of another over the ranks.

    Its batch norms are replaced, in place, by ones over the whole batch, so that a step on several ranks is the step of
    one process with the batch of all: torch's on CUDA, those of `medssl.networks.batch_norm` on the CPU. Its parameters
    stay the same objects.

    Args:
        network: a method or a wrapper of one, on the device of this rank.
        unused_parameters: True if the loss does not reach all parameters, such as the decoder of an `FPN` under a
            method that reads the coarsest level alone. Torch then searches for them in every step.
    """
    if rank_device().type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    else:
        synchronise_batch_norm(network)
    return DistributedDataParallel(network, find_unused_parameters=unused_parameters)


class AverageLosses:
    """Handler that replaces the named losses of each step by their mean over the ranks, before they are logged.

    All ranks have the same number of patches, so the mean of their losses is the loss of the whole batch.
    """

    def attach(self, engine: Engine) -> None:
        """Average after the optimizer step, before anything is logged."""
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Exchange the losses of this step."""
        losses = engine.state.output["pred"]
        values = torch.stack([value.detach().float() for value in losses.values()])
        dist.all_reduce(values)
        values /= dist.get_world_size()
        engine.state.output["pred"] = dict(zip(losses, values.unbind(), strict=True))
        engine.state.output["loss"] = engine.state.output["pred"]["loss"]
