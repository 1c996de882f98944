"""Batch norm over the batch of all ranks on the CPU, where torch has no such layer."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class GlobalBatchNorm(_BatchNorm):
    """Batch norm whose mean and variance, forward and backward, are over the batches of all ranks together.

    The counterpart on the CPU of torch's `SyncBatchNorm`, which runs on CUDA alone. Ranks may have different numbers of
    rows. The running statistics are the same on all ranks, and equal those of one process with the whole batch. In
    evaluation, and in a single process, it is torch's batch norm; its state is the same in all cases.

    Raises:
        ValueError: in training, if all ranks together have a single value per channel.

    Example:
        >>> x = torch.rand(4, 3, 5, 5)
        >>> torch.equal(GlobalBatchNorm(3)(x), nn.BatchNorm2d(3)(x))
        True
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised features of shape ``(B, C, ...)``."""
        if not self.training or not dist.is_initialized():
            return super().forward(input)
        output, mean, variance, count = _Normalise.apply(input, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            self._track(mean, variance * count / (count - 1))
        return output

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"Batch norm needs features of shape (B, C, ...), got {tuple(input.shape)}.")

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


class _Normalise(torch.autograd.Function):
    """Batch norm (Ioffe & Szegedy, 2015) with the sums over the batch taken over all ranks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        values = x.float()
        sums = torch.cat([_sum(values), values.new_tensor([values.numel() / values.shape[1]])])
        dist.all_reduce(sums)
        count = sums[-1]
        if count < 2:
            raise ValueError(f"Batch norm in training needs more than one value a channel, got {tuple(x.shape)}.")
        mean = sums[:-1] / count
        # The mean of squares minus the squared mean would cancel; a second pass keeps the digits.
        squares = _sum((values - _spread(mean, x)).square())
        dist.all_reduce(squares)
        variance = squares / count
        scale = torch.rsqrt(variance + eps)
        ctx.save_for_backward(x, weight, mean, scale, count)
        ctx.mark_non_differentiable(mean, variance, count)
        output = (values - _spread(mean, x)) * _spread(scale if weight is None else scale * weight, x)
        output = output if bias is None else output + _spread(bias, x)
        return output.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        gradient = gradient.float()
        normalised = (x.float() - _spread(mean, x)) * _spread(scale, x)
        # The gradients of weight and bias stay local: they are averaged over the ranks with all others.
        of_bias, of_weight = _sum(gradient), _sum(gradient * normalised)
        means = torch.stack([of_bias, of_weight])
        dist.all_reduce(means)
        means = means / count
        inner = gradient - _spread(means[0], x) - normalised * _spread(means[1], x)
        of_x = inner * _spread(scale if weight is None else scale * weight, x)
        if weight is None:
            return of_x.to(x.dtype), None, None, None
        return of_x.to(x.dtype), of_weight, of_bias, None


def _sum(x: Tensor) -> Tensor:
    return x.sum(dim=[dim for dim in range(x.dim()) if dim != 1])


def _spread(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (like.dim() - 2))


def synchronise_batch_norm(module: nn.Module) -> None:
    """Replace every batch norm in a module by one over all ranks, in place; parameters and state keys stay the same.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
        >>> weight = network[1].weight
        >>> synchronise_batch_norm(network)
        >>> type(network[1]).__name__, network[1].weight is weight
        ('GlobalBatchNorm', True)
    """
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, _global(child))
        else:
            synchronise_batch_norm(child)


def _global(norm: _BatchNorm) -> GlobalBatchNorm:
    made = GlobalBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    # The same tensors, so that an optimizer made before still trains them.
    made._parameters, made._buffers = norm._parameters, norm._buffers
    return made.train(norm.training)
