"""The projectors of image-level methods."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class MLP(nn.Sequential):
    """Maps vectors of shape ``(N, in_channels)`` to embeddings of shape ``(N, out_channels)``.

    Hidden layers with batch norm and ReLU, then a linear layer.

    Args:
        in_channels: length of a vector.
        hidden_channels: width of each hidden layer; an empty list makes the map linear.
        out_channels: length of an embedding.
        final_norm: True adds a batch norm without parameters after the last layer.

    Example:
        >>> import torch
        >>> MLP(512, [2048], 128)(torch.zeros(4, 512)).shape
        torch.Size([4, 128])
    """

    def __init__(
        self, in_channels: int, hidden_channels: Sequence[int], out_channels: int, final_norm: bool = False
    ) -> None:
        widths = [in_channels, *hidden_channels]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
        layers.append(nn.Linear(widths[-1], out_channels))
        if final_norm:
            layers.append(nn.BatchNorm1d(out_channels, affine=False))
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings of ``x``.

        Raises:
            ValueError: in training, if there is a single vector, which batch norm cannot normalise.
        """
        if self.training and len(x) == 1 and any(isinstance(layer, nn.BatchNorm1d) for layer in self):
            raise ValueError("The projector's batch norm needs more than one vector; set pairs_per_batch to 2 or more.")
        return super().forward(x)


def two_layers(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    """Return a projector without batch norm: a linear layer, ReLU and a linear layer.

    Args:
        in_channels: length of a vector.
        hidden_channels: width between the layers.
        out_channels: length of an embedding.

    Example:
        >>> import torch
        >>> two_layers(512, 512, 128)(torch.zeros(1, 512)).shape
        torch.Size([1, 128])
    """
    return nn.Sequential(nn.Linear(in_channels, hidden_channels), nn.ReLU(), nn.Linear(hidden_channels, out_channels))
