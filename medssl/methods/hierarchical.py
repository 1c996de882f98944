"""Dense hierarchical pretraining: contrast between shared voxels, and restoration."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.losses.info_nce import InfoNCELoss, collapse_value
from medssl.networks.backbone import Backbone, require_backbone
from medssl.networks.fpn import BalancedPyramid
from medssl.ops.distributed import global_count
from medssl.ops.pyramid import gather_levels


class Hierarchical(nn.Module):
    """The losses of dense hierarchical pretraining: voxel-wise InfoNCE plus restoration.

    The method of Kats et al. (2024), equations 1 to 3: the features of the voxels that two patches share are
    gathered from all pyramid levels, projected, and contrasted with those of all other voxels of the batch; the
    finest level restores the patches as they were before augmentation. Without a restoration head and with a plain
    `FPN` it is vox2vec (Goncharov et al., 2023, https://arxiv.org/abs/2307.14725).

    Reads the batch keys ``view_1``, ``view_2`` of shape ``(B, C, *spatial)``; with a projector ``voxels_1``,
    ``voxels_2`` of shape ``(N, 1 + spatial_dims)`` (position in the batch, then voxel; row *i* of both is one physical
    voxel); with a restoration head ``clean_1``, ``clean_2`` of the shape of the views.

    Args:
        network: the backbone that is trained; with a `BalancedPyramid` the contrast uses its projected levels.
        projector: maps concatenated level features to embeddings, or None for restoration alone.
        restoration_head: maps the finest feature map to the restored patch, or None for contrast alone.
        temperature: of the InfoNCE loss.
        restoration_weight: lambda in equation 3.

    Attributes:
        backbone: what is transferred, such as an `FPN`.

    Raises:
        ValueError: if there is neither a projector nor a restoration head, or the finest level is too coarse to restore
            the image.

    Example:
        >>> from medssl.networks.fpn import FPN
        >>> from medssl.networks.heads import Projector
        >>> method = Hierarchical(FPN(2, base_channels=4, num_levels=2), Projector((4, 8)))
        >>> view, voxels = torch.rand(2, 1, 8, 8), torch.tensor([[0, 1, 2], [1, 7, 7], [1, 0, 0]])
        >>> losses = method({"view_1": view, "view_2": view, "voxels_1": voxels, "voxels_2": voxels})
        >>> sorted(losses)
        ['collapse_distance', 'contrastive', 'loss']
    """

    def __init__(
        self,
        network: Backbone,
        projector: nn.Module | None = None,
        restoration_head: nn.Module | None = None,
        temperature: float = 0.1,
        restoration_weight: float = 10.0,
    ) -> None:
        super().__init__()
        require_backbone(network)
        if projector is None and restoration_head is None:
            raise ValueError("The hierarchical method needs a projector, a restoration head, or both.")
        if restoration_head is not None and network.strides[0] != 1:
            raise ValueError(
                f"Restoration needs a level of the image's own size, but the finest of {type(network).__name__} has "
                f"cells of {network.strides[0]} voxels; take a backbone such as fpn or unet, or restoration_head: null."
            )
        balanced = isinstance(network, BalancedPyramid)
        self.backbone = network.backbone if balanced else network
        self.projections = network.projections if balanced and projector is not None else None
        self.projector = projector
        self.restoration_head = restoration_head
        self.contrast = InfoNCELoss(temperature)
        self.restoration_weight = restoration_weight

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss`` and its detached parts for one batch."""
        pyramids = [self.backbone(batch["view_1"]), self.backbone(batch["view_2"])]
        parts: dict[str, Tensor] = {}
        loss = pyramids[0][0].new_zeros((), dtype=batch["view_1"].dtype)
        if self.projector is not None:
            z1, z2 = (self.embed(p, batch[f"voxels_{i}"]) for i, p in enumerate(pyramids, start=1))
            contrastive = self.contrast(z1, z2)
            parts["contrastive"] = contrastive.detach()
            parts["collapse_distance"] = collapse_value(global_count(z1)) - contrastive.detach()
            loss = loss + contrastive
        if self.restoration_head is not None:
            errors = [F.mse_loss(self.restore(p), batch[f"clean_{i}"]) for i, p in enumerate(pyramids, start=1)]
            restoration = (errors[0] + errors[1]) / 2
            parts["restoration"] = restoration.detach()
            loss = loss + self.restoration_weight * restoration
        return {"loss": loss, **parts}

    def embed(self, pyramid: list[Tensor], voxels: Tensor) -> Tensor:
        """Return the embeddings of voxels ``(N, 1 + spatial_dims)``, shape ``(N, channels)``, not normalised."""
        rows = gather_levels(pyramid, voxels, self.backbone.strides)
        if self.projections is not None:
            rows = self.projections.rows(rows)
        return self.projector(torch.cat(rows, dim=1))

    def restore(self, pyramid: list[Tensor]) -> Tensor:
        """Return the restored patches, of the shape of the views."""
        return self.restoration_head(pyramid[0])
