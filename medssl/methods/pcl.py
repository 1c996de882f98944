"""PCL: images from about the same place of their scans are drawn to each other."""

from torch import Tensor, nn

from medssl.losses.named import contrastive_losses
from medssl.losses.position_contrast import PositionContrastLoss
from medssl.losses.supervised_contrast import supcon_collapse_value
from medssl.networks.backbone import Backbone, require_backbone
from medssl.networks.mlp import two_layers
from medssl.networks.pooling import GlobalMean
from medssl.ops.distributed import global_count


class PCL(nn.Module):
    """The loss of positional contrastive learning: supervised contrast with positives by position.

    Two views are positives if the places they come from differ by less than a threshold along every axis, whatever
    scans they come from; so neighbouring slices of a scan, and the same level of two patients, are not negatives of
    each other (Zeng et al., 2021, https://arxiv.org/abs/2106.09157). The paper's position is that of a slice in its
    scan; for patches of a volume it is that of their centre along each axis.

    Reads the batch keys ``view_1``, ``view_2`` of shape ``(B, C, *spatial)`` and ``position`` of shape ``(B, P)``, from
    0 to 1.

    Args:
        backbone: what is trained and transferred, see `medssl.networks.backbone.Backbone`.
        hidden_channels: width of the projector's hidden layer.
        embedding_channels: width of the embedding.
        temperature: of the contrast. The public code also multiplies the loss by ``temperature / 0.07``.
        threshold: images whose positions differ by less are positives; 0.1, or 0.35 where scans are short (cardiac MR).

    Raises:
        ValueError: if the batch has no positions, or a single pair.

    Example:
        >>> import torch
        >>> from medssl.networks.unet import UNetEncoder
        >>> method = PCL(UNetEncoder(2, base_channels=4, num_levels=2))
        >>> view = torch.rand(3, 1, 8, 8)
        >>> sorted(method({"view_1": view, "view_2": view, "position": torch.tensor([[0.1], [0.15], [0.9]])}))
        ['collapse_distance', 'contrastive', 'loss']
    """

    def __init__(
        self,
        backbone: Backbone,
        hidden_channels: int = 512,
        embedding_channels: int = 512,
        temperature: float = 0.1,
        threshold: float = 0.1,
    ) -> None:
        super().__init__()
        require_backbone(backbone)
        self.backbone = backbone
        self.pool = GlobalMean()
        self.projector = two_layers(backbone.level_channels[-1], hidden_channels, embedding_channels)
        self.contrast = PositionContrastLoss(temperature, threshold)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss`` and its detached parts for one batch."""
        z1, z2 = (self.projector(self.pool(self.backbone(batch[f"view_{i}"]))) for i in (1, 2))
        loss = self.contrast(z1, z2, batch.get("position"))
        return contrastive_losses(loss, supcon_collapse_value(2 * global_count(z1)))
