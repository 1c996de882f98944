"""Rows of two views, stacked."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from medssl.ops.distributed import gather_rows


def paired_rows(views: Sequence[Tensor]) -> Tensor:
    """Stack the rows of both views of all ranks: rows ``i`` and ``N + i`` are the two views of one image.

    Args:
        views: two tensors of shape ``(n, C)``.

    Returns:
        Tensor of shape ``(2 * N, C)`` for N images on all ranks together.

    Raises:
        ValueError: if there is only one image, which cannot be contrasted with any other.

    Example:
        >>> paired_rows([torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]])]).flatten()
        tensor([1., 2., 3., 4.])
    """
    pairs = gather_rows(torch.cat(list(views), dim=1))
    if len(pairs) < 2:
        raise ValueError("Contrasting images takes at least two of them; set pairs_per_batch to 2 or more.")
    return rearrange(pairs, "n (view c) -> (view n) c", view=2)
