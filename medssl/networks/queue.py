"""A queue of the latest embeddings."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Queue(nn.Module):
    """The latest unit embeddings, in a buffer ``rows`` of shape ``(size, channels)`` that is part of the state.

    The dictionary of MoCo (He et al., 2020, https://arxiv.org/abs/1911.05722, section 3.1). It starts with random
    unit vectors.

    Args:
        channels: length of an embedding.
        size: number of embeddings kept.

    Example:
        >>> queue = Queue(channels=2, size=3)
        >>> queue.push(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
        >>> queue.rows[:2].tolist()
        [[0.6..., 0.8...], [0.0, 1.0]]
    """

    rows: Tensor
    position: Tensor

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(size, channels), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Replace the oldest embeddings.

        Args:
            rows: new embeddings, shape ``(N, channels)``; they are normalised here.

        Raises:
            ValueError: if there are more than the queue holds.
        """
        size = len(self.rows)
        if len(rows) > size:
            raise ValueError(
                f"A queue of {size} cannot hold {len(rows)} embeddings of one step; raise queue_size to at least that."
            )
        places = (self.position + torch.arange(len(rows), device=rows.device)) % size
        self.rows[places] = F.normalize(rows.to(self.rows.dtype), dim=1)
        self.position.copy_((self.position + len(rows)) % size)
