"""Contrast by weak labels that come from the embeddings themselves."""

from torch import Tensor, nn

from medssl.losses.supervised_contrast import SupConLoss
from medssl.ops.neighbours import neighbour_components
from medssl.ops.pairs import paired_rows


class NeighbourContrastLoss(nn.Module):
    """The contrastive loss of embeddings against the nearest-neighbour components of the other view, a scalar.

    In each view rows are labelled by the components of their nearest-neighbour graph
    (`medssl.ops.neighbours.neighbour_components`); the labels of one view supervise the contrast within the other, so
    that no view is trained on labels of its own. The mean of both is the graph loss of WCL (Zheng et al., 2021,
    https://arxiv.org/abs/2110.04770). In a process group the loss is over the images of all ranks.

    Args:
        temperature: of the supervised contrast, above 0.

    Example:
        >>> import torch
        >>> z = torch.eye(3)[[0, 0, 1, 1]]
        >>> NeighbourContrastLoss(0.1)(z, z) < NeighbourContrastLoss(0.1)(z, z.roll(1, 0))
        tensor(True)
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.supcon = SupConLoss(temperature)

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of embeddings of shape ``(N, C)``; row ``i`` of both is the same image.

        Raises:
            ValueError: if there is a single image.
        """
        z1, z2 = paired_rows([z1, z2]).chunk(2)
        of_first = self.supcon(z1, neighbour_components(z2))
        return (of_first + self.supcon(z2, neighbour_components(z1))) / 2
