"""Which cell of one view belongs to which cell of another, by place or by feature.

The distances of ``N`` to ``M`` cells are held at once, or in parts if there are many.
"""

import torch
from einops import repeat
from torch import Tensor

_MOST_DISTANCES = 1 << 24


def nearest_by_location(positions: Tensor, others: Tensor, largest_distance: Tensor | float) -> tuple[Tensor, Tensor]:
    """The distance of each cell to the nearest of the others, and which one that is.

    Args:
        positions: of the cells of one view, shape ``(B, N, d)``.
        others: of the cells of the other, shape ``(B, M, d)``.
        largest_distance: what is further away does not match; one number, or one for each view, shape ``(B,)``.

    Returns:
        Distances of shape ``(B, N)``, infinite without a match, and indices of shape ``(B, N)``.

    Example:
        >>> distances, index = nearest_by_location(torch.tensor([[[0.0], [6.0]]]), torch.tensor([[[9.0], [1.0]]]), 2.0)
        >>> distances.tolist(), index.tolist()
        ([[1.0, inf]], [[1, 0]])
    """
    # The squares of coordinates are large, so a matrix product would lose the digits of a small distance.
    distances, index = _nearest(positions, others, "donot_use_mm_for_euclid_dist")
    limit = torch.as_tensor(largest_distance, device=distances.device).reshape(-1, 1)
    return distances.masked_fill(distances > limit, torch.inf), index


def nearest_by_feature(features: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """The Euclidean distance of each cell to the most similar of the others, and which one that is.

    For unit vectors it is the one with the largest cosine.

    Args:
        features: of the cells of one view, shape ``(B, N, C)``.
        others: of the cells of the other, shape ``(B, M, C)``.

    Returns:
        Distances and indices, of shape ``(B, N)`` each, without a gradient.

    Example:
        >>> nearest_by_feature(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[9.0, 9.0], [3.0, 4.0]]]))
        (tensor([[5.]]), tensor([[1]]))
    """
    return _nearest(features, others, "use_mm_for_euclid_dist")


def best_matches(distances: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` smallest distances of each view, or all if there are fewer, and where they are.

    Args:
        distances: shape ``(B, N)``.
        count: number of matches to keep.

    Returns:
        Distances and indices, of shape ``(B, min(count, N))`` each, the best first.

    Example:
        >>> best_matches(torch.tensor([[3.0, 1.0, 2.0]]), 2)
        (tensor([[1., 2.]]), tensor([[1, 2]]))
    """
    return tuple(distances.topk(min(count, distances.shape[1]), dim=1, largest=False))


def take_cells(cells: Tensor, index: Tensor) -> Tensor:
    """The rows of each view at its indices.

    Args:
        cells: shape ``(B, N, C)``.
        index: shape ``(B, K)``.

    Returns:
        Tensor of shape ``(B, K, C)``.

    Example:
        >>> take_cells(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]), torch.tensor([[1], [0]])).tolist()
        [[[2.0]], [[3.0]]]
    """
    return cells.gather(1, repeat(index, "b k -> b k c", c=cells.shape[2]))


@torch.no_grad()
def _nearest(rows: Tensor, others: Tensor, compute_mode: str) -> tuple[Tensor, Tensor]:
    with torch.autocast(rows.device.type, enabled=False):
        rows, others = rows.float(), others.float()
        length = max(_MOST_DISTANCES // (len(rows) * others.shape[1]), 1)
        parts = [torch.cdist(part, others, compute_mode=compute_mode).min(dim=2) for part in rows.split(length, dim=1)]
    return torch.cat([part.values for part in parts], dim=1), torch.cat([part.indices for part in parts], dim=1)
