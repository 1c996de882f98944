"""Weak labels from nearest neighbours and from positions."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def neighbour_components(rows: Tensor) -> Tensor:
    """Label rows so that those joined by a path of nearest neighbours share a label.

    Every row is joined to the other row with the highest cosine similarity; the label of a connected component of this
    graph is the index of its first row. There is no threshold to set, and no row stays alone. From WCL (Zheng et
    al., 2021, https://arxiv.org/abs/2110.04770) and SuperCL (Zeng et al., figure 4b).

    Args:
        rows: shape ``(N, C)``; no gradient flows back.

    Returns:
        int64 tensor of shape ``(N,)``.

    Raises:
        ValueError: if there are fewer than two rows.

    Example:
        >>> neighbour_components(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9]]))
        tensor([0, 1, 0, 1])
    """
    if len(rows) < 2:
        raise ValueError("The nearest neighbour needs at least two rows; set pairs_per_batch to 2 or more.")
    with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
        units = F.normalize(rows.detach().float(), dim=1)
        nearest = (units @ units.T).fill_diagonal_(-torch.inf).argmax(1)
        joined = torch.eye(len(rows), device=rows.device)
        joined.scatter_(1, nearest[:, None], 1.0)
        joined = torch.maximum(joined, joined.T)
        # Each product doubles the length of the paths it follows.
        for _ in range(math.ceil(math.log2(len(rows)))):
            joined = (joined @ joined).clamp(max=1.0)
        return joined.argmax(1)


def near_positions(positions: Tensor, threshold: float) -> Tensor:
    """Tell which positions differ by less than a threshold along every axis.

    Args:
        positions: shape ``(N, P)``, such as 0..1 along each axis of a scan.
        threshold: above 0.

    Returns:
        Bool tensor of shape ``(N, N)``.

    Example:
        >>> near_positions(torch.tensor([[0.1], [0.15], [0.9]]), threshold=0.1)[0]
        tensor([ True,  True, False])
    """
    return ((positions[:, None] - positions).abs() < threshold).all(2)
