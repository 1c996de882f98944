"""MatSSL: contrast between images through gated features of every stage."""

from torch import Tensor, nn

from medssl.losses.info_nce import InfoNCELoss, collapse_value
from medssl.losses.named import contrastive_losses
from medssl.networks.backbone import Backbone, require_backbone
from medssl.networks.fusion import GatedFusion
from medssl.networks.mlp import MLP
from medssl.ops.distributed import global_count


class MatSSL(nn.Module):
    """The loss of MatSSL: contrast between images whose vectors are fused from every stage of the backbone.

    The method of Nguyen et al. ("MatSSL: Robust Self-Supervised Representation Learning for Metallographic Image
    Segmentation"), section 3.1: each stage is averaged over space and gated by learned weights, so that the stages stay
    close to what they were pretrained for; the fused vector is projected and contrasted by NT-Xent over the batch of
    all ranks. The gates are not transferred.

    Reads the batch keys ``view_1``, ``view_2`` of shape ``(B, C, *spatial)``.

    Args:
        backbone: what is trained and transferred, see `medssl.networks.backbone.Backbone`.
        num_stages: number of levels that are fused, counted from the coarsest; a residual network has 4 stages.
        hidden_channels: width of the projector's hidden layer.
        embedding_channels: length of an embedding.
        temperature: of NT-Xent.
        reference: True gates as the authors' code does (see `GatedFusion`), and adds its batch norm after the
            projector.

    Example:
        >>> import torch
        >>> from medssl.networks.resnet import ResNet
        >>> method = MatSSL(ResNet(2, depth=10, base_channels=4), hidden_channels=16, embedding_channels=8)
        >>> sorted(method({"view_1": torch.rand(2, 1, 64, 64), "view_2": torch.rand(2, 1, 64, 64)}))
        ['collapse_distance', 'contrastive', 'loss']
    """

    def __init__(
        self,
        backbone: Backbone,
        num_stages: int = 4,
        hidden_channels: int = 2048,
        embedding_channels: int = 128,
        temperature: float = 0.07,
        reference: bool = False,
    ) -> None:
        super().__init__()
        require_backbone(backbone)
        self.backbone = backbone
        stage_channels = backbone.level_channels[-num_stages:]
        self.fusion = GatedFusion(stage_channels, reference)
        self.projector = MLP(sum(stage_channels), [hidden_channels], embedding_channels, final_norm=reference)
        self.contrast = InfoNCELoss(temperature)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss``, the same detached, and its distance from collapse (see `contrastive_losses`)."""
        z1, z2 = (self.embed(batch[key]) for key in ("view_1", "view_2"))
        return contrastive_losses(self.contrast(z1, z2), collapse_value(global_count(z1)))

    def embed(self, view: Tensor) -> Tensor:
        """Return the embeddings of views, shape ``(B, embedding_channels)``, not normalised."""
        return self.projector(self.fusion(self.backbone(view)))
