"""Voxel embeddings that move with the voxels when the image is warped."""

from torch import Tensor, nn

from medssl.losses.info_nce import InfoNCELoss, collapse_value
from medssl.losses.named import WeightedTerms, contrastive_losses, losses_of_terms
from medssl.networks.backbone import Backbone, require_backbone
from medssl.networks.mlp import MLP
from medssl.ops.distributed import global_count
from medssl.ops.positions import gather_positions
from medssl.ops.pyramid import gather_voxels


class Pix2Rep(nn.Module):
    r"""The loss of Pix2Rep: embeddings of a warped view against the warped embeddings of the view.

    Seince et al. (2024), "Dense self-supervised learning for medical image segmentation": with a spatial warp
    :math:`\phi` and two intensity augmentations :math:`t, t'`, the network's map of view 2, :math:`t(\phi(x))`, should
    equal, voxel by voxel, its map of view 1, :math:`t'(x)`, warped by :math:`\phi`. A list of voxels that the warp
    takes from inside the image is compared by InfoNCE over the whole batch; with `BarlowTwinsLoss` it is Pix2Rep-v2.

    A voxel's features are those of all pyramid levels, concatenated, because a full-resolution map with as many
    channels does not fit in memory in 3D. Those of view 1 are interpolated linearly at the warped position, as the warp
    of a map would do: with a window of a third of the patch, 9 voxels of view 2 share a nearest voxel of view 1 in 2D
    and 27 in 3D, and would be each other's negatives. Features are interpolated before the projector, so that it sees
    one row per voxel in either view.

    Reads the batch keys ``view_1``, ``view_2`` of shape ``(B, C, *spatial)``; ``voxels_2`` of shape
    ``(N, 1 + spatial_dims)`` (position in the batch, then voxel) and ``voxels_exact_1`` of the same shape: where the
    same voxels lie in view 1, between its voxels.

    Args:
        backbone: what is trained and transferred, see `medssl.networks.backbone.Backbone`.
        loss: maps two sets of embeddings to a scalar; None is InfoNCE at `temperature`.
        temperature: of the InfoNCE loss.
        levels: number of levels that are read, counted from the finest; None reads all.
        hidden_channels: width of the projector's hidden layer.
        out_channels: length of an embedding.

    Raises:
        ValueError: if the backbone has fewer levels.

    Example:
        >>> import torch
        >>> from medssl.networks.fpn import FPN
        >>> method = Pix2Rep(FPN(2, base_channels=4, num_levels=2))
        >>> view, voxels = torch.rand(2, 1, 8, 8), torch.tensor([[0, 1, 2], [1, 7, 7], [1, 0, 0]])
        >>> batch = {"view_1": view, "view_2": view, "voxels_exact_1": voxels.float(), "voxels_2": voxels}
        >>> sorted(method(batch))
        ['collapse_distance', 'contrastive', 'loss']
    """

    def __init__(
        self,
        backbone: Backbone,
        loss: nn.Module | None = None,
        temperature: float = 0.53,
        levels: int | None = None,
        hidden_channels: int = 256,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        require_backbone(backbone)
        if levels is not None and not 1 <= levels <= len(backbone.level_channels):
            raise ValueError(
                f"levels must be from 1 to the {len(backbone.level_channels)} of the backbone, got {levels}."
            )
        self.backbone = backbone
        self.levels = levels
        self.projector = MLP(sum(backbone.level_channels[:levels]), [hidden_channels], out_channels)
        self.loss = InfoNCELoss(temperature) if loss is None else loss

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss`` and its detached parts for one batch.

        Raises:
            ValueError: if the batch lists fewer than two voxels.
        """
        voxels, positions = batch["voxels_2"], batch["voxels_exact_1"]
        if len(voxels) < 2:
            raise ValueError("Pix2Rep compares at least two voxels; raise pairs_per_batch or num_voxels.")
        strides = self.backbone.strides[: self.levels]
        warped = gather_positions(self.backbone(batch["view_1"])[: self.levels], positions, strides)
        direct = gather_voxels(self.backbone(batch["view_2"])[: self.levels], voxels, strides)
        z1, z2 = self.projector(warped), self.projector(direct)
        if isinstance(self.loss, WeightedTerms):
            return losses_of_terms(self.loss, z1, z2)
        return contrastive_losses(self.loss(z1, z2), collapse_value(global_count(z1)))
