"""Rows of two views, one below the other."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from medssl.ops.distributed import gather_rows


def paired_rows(views: Sequence[Tensor]) -> Tensor:
    """The rows of both views of all ranks, those of view 1 first: rows ``i`` and ``N + i`` are one image.

    Args:
        views: two tensors of shape ``(n, C)``.

    Returns:
        Tensor of shape ``(2 * N, C)``, for N images on all ranks together.

    Raises:
        ValueError: if there is only one image, which has nothing to contrast with.

    Example:
        >>> paired_rows([torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]])]).flatten()
        tensor([1., 2., 3., 4.])
    """
    pairs = gather_rows(torch.cat(list(views), dim=1))
    if len(pairs) < 2:
        raise ValueError("A contrast between images needs two or more of them; set pairs_per_batch to 2 or more.")
    return rearrange(pairs, "n (view c) -> (view n) c", view=2)
