"""Contrast by where in their scans images come from."""

from torch import Tensor, nn

from medssl.losses.supervised_contrast import SupConLoss
from medssl.ops.distributed import gather_rows
from medssl.ops.neighbours import near_positions
from medssl.ops.pairs import paired_rows

# So many images are hardly ever all from one place by chance.
_MANY = 8


class PositionContrastLoss(nn.Module):
    """The supervised contrastive loss whose positives are images from about the same place, a scalar.

    Positives differ by less than `threshold` along every axis, whatever scans they come from (PCL: Zeng et al., 2021,
    https://arxiv.org/abs/2106.09157); both views of an image always do. In a process group the loss is over the images
    of all ranks.

    Args:
        temperature: of the contrast, above 0.
        threshold: for the difference of two positions.

    Example:
        >>> import torch
        >>> z, loss = torch.eye(3)[[0, 0, 1]], PositionContrastLoss(0.1, threshold=0.1)
        >>> loss(z, z, torch.tensor([[0.1], [0.15], [0.9]])) < loss(z, z, torch.tensor([[0.1], [0.9], [0.95]]))
        tensor(True)
    """

    def __init__(self, temperature: float = 0.1, threshold: float = 0.1) -> None:
        super().__init__()
        self.supcon = SupConLoss(temperature)
        self.threshold = threshold

    def forward(self, z1: Tensor, z2: Tensor, positions: Tensor | None) -> Tensor:
        """Return the loss of embeddings of shape ``(N, C)`` and positions of shape ``(N, P)``.

        Raises:
            ValueError: if there are no positions, there is a single image, or eight or more are all from one place.
        """
        if positions is None:
            raise ValueError(
                "PCL needs to know where in its scan an image is, but the batch has no 'position'; cut the views with "
                "medssl.transforms.aligned.RandAlignedPatchesd, or choose another method or instance_loss."
            )
        positions = gather_rows(positions)
        if len(positions) >= _MANY and bool((positions == positions[0]).all()):
            raise ValueError(
                f"All {len(positions)} images come from one position, so PCL has no negatives: slices need their "
                "'position' in the data list (`medssl slices` writes it), other images a patch_size below their size, "
                "or another method or instance_loss."
            )
        near = near_positions(positions, self.threshold)
        return self.supcon(paired_rows([z1, z2]), near.repeat(2, 2))
