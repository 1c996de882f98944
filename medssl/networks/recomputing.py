"""Activations that are computed again in the backward pass instead of being kept (Chen et al., 2016)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(run: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> Tensor:
    """Return ``run(x)`` without keeping its activations: the backward pass runs it again.

    Same values and gradients, less memory, more time (https://arxiv.org/abs/1604.06174). The batch norms see every
    batch once: the second run leaves their running statistics alone. `run` must not draw random numbers.

    Args:
        run: computes something with the layers of `module`.
        module: the layers.
        x: the input of `run`.

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm1d(2)
        >>> recomputed(norm, norm, torch.rand(4, 2, requires_grad=True)).sum().backward()
        >>> norm.num_batches_tracked
        tensor(1)
    """
    return checkpoint(
        run,
        x,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), _statistics_kept(module)),
    )


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    # The second run writes to copies. Turning the statistics off would also do, but then it saves other tensors than
    # the first run did, which `checkpoint` refuses.
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    kept = [dict(norm._buffers) for norm in norms]
    for norm, buffers in zip(norms, kept, strict=True):
        norm._buffers.update({name: None if value is None else value.clone() for name, value in buffers.items()})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update(buffers)
