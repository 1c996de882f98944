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
    """Give the network that averages the gradients of another over the ranks.

    Its batch norms become those of the whole batch, in place, so that a step on several ranks is the step of one
    process on the batch of all: torch's on CUDA, on the CPU those of `medssl.networks.batch_norm`. Its parameters stay
    the same objects.

    Args:
        network: a method or what stands in for it, on the device of this rank.
        unused_parameters: True where the loss does not reach all of them, such as the decoder of an `FPN` behind a
            method that looks at the coarsest level alone. Torch then looks for them in every step.
    """
    if rank_device().type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    else:
        synchronise_batch_norm(network)
    return DistributedDataParallel(network, find_unused_parameters=unused_parameters)


class AverageLosses:
    """Handler that puts the mean over the ranks in place of the named losses of each step, for those who log them.

    Each rank has as many patches as the others, so the mean of the ranks' losses is that of the whole batch.
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
