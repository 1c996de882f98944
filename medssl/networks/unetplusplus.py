"""The nested decoder of U-Net++ as a segmentation head."""

from collections.abc import Sequence

from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from medssl.networks.unet import UpBlock


class UNetPlusPlusDecoder(nn.Module):
    """The decoder of U-Net++: logits of shape ``(B, num_classes, *spatial)``, at the finest level's size.

    Node ``(i, j)`` sees all nodes ``(i, 0)`` to ``(i, j - 1)`` of its level and the upsampled node ``(i + 1, j - 1)``,
    where ``(i, 0)`` is level ``i`` of the pyramid; the last node of the finest level is mapped to classes (Zhou et al.,
    2018, https://arxiv.org/abs/1807.10165, equation 1, without deep supervision). All nodes of a level have its width.

    Args:
        spatial_dims: 2 or 3.
        level_channels: channels of each level of the pyramid, finest first.
        num_classes: number of foreground classes.

    Example:
        >>> import torch
        >>> head = UNetPlusPlusDecoder(2, level_channels=(4, 8, 16), num_classes=3)
        >>> head([torch.zeros(1, 4, 5, 5), torch.zeros(1, 8, 3, 3), torch.zeros(1, 16, 2, 2)]).shape
        torch.Size([1, 3, 5, 5])
    """

    def __init__(self, spatial_dims: int, level_channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.columns = nn.ModuleList(
            nn.ModuleList(
                UpBlock(spatial_dims, level_channels[i + 1], level_channels[i], num_skips=j)
                for i in range(len(level_channels) - j)
            )
            for j in range(1, len(level_channels))
        )
        self.classify = Conv[Conv.CONV, spatial_dims](level_channels[0], num_classes, 1)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Return the logits for a pyramid, finest first."""
        rows: list[list[Tensor]] = [[level] for level in pyramid]
        for column in self.columns:
            # Finer rows go first, so the row below still ends with the previous column.
            for i, node in enumerate(column):
                rows[i].append(node(rows[i + 1][-1], rows[i]))
        return self.classify(rows[0][-1])
