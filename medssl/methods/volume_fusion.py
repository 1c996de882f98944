"""VolumeFusion: two patches are fused block by block, and the network segments the levels of the fusion."""

from torch import Tensor, nn

from medssl.losses.dice_ce import DiceCELoss
from medssl.networks.backbone import Backbone, require_backbone


class VolumeFusion(nn.Module):
    """The loss of VolumeFusion: cross-entropy plus Dice of the level at which two patches were fused, voxel by voxel.

    A foreground patch I_f is fused into a background patch I_b as α I_f + (1 − α) I_b, where α is one of 0, 1/K, …, 1,
    constant in each of several random blocks and 0 elsewhere. Which of the K + 1 it is, is a segmentation that needs
    no annotation (Wang et al., 2023, https://arxiv.org/abs/2306.16925).

    Reads the batch keys ``view_1`` of shape ``(B, C, *spatial)``, the fused patches, and ``levels``, int64, of shape
    ``(B, 1, *spatial)``, from 0 to K (`medssl.transforms.volume_fusion.RandFuseLevelsd`).

    Args:
        backbone: what is trained and transferred; its finest level has the size of the image.
        head: maps the finest feature map to K logits, those of the levels from 1; that of level 0 is 0.

    Raises:
        ValueError: if the finest level is coarser than the image.

    Example:
        >>> import torch
        >>> from medssl.networks.fpn import FPN
        >>> from medssl.networks.heads import RestorationHead
        >>> method = VolumeFusion(FPN(2, base_channels=4, num_levels=2), RestorationHead(2, 4, out_channels=3))
        >>> sorted(method({"view_1": torch.rand(2, 1, 8, 8), "levels": torch.randint(4, (2, 1, 8, 8))}))
        ['accuracy', 'loss']
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        require_backbone(backbone)
        if backbone.strides[0] != 1:
            raise ValueError(
                f"A level for every voxel needs features of the image's own size, but the finest of "
                f"{type(backbone).__name__} has cells of {backbone.strides[0]} voxels; take a backbone such as fpn or "
                "unet."
            )
        self.backbone = backbone
        self.head = head
        self.dice_ce = DiceCELoss()

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss`` and, detached, ``accuracy``: the share of the voxels whose level is found."""
        logits, levels = self.head(self.backbone(batch["view_1"])[0]), batch["levels"]
        best, index = logits.detach().max(dim=1, keepdim=True)
        found = (index + 1) * (best > 0)
        return {"loss": self.dice_ce(logits, levels), "accuracy": (found == levels).float().mean()}
