"""SimCLR: contrast between two views of every image."""

from torch import Tensor, nn

from medssl.losses.info_nce import InfoNCELoss, collapse_value
from medssl.losses.named import contrastive_losses
from medssl.networks.backbone import Backbone, require_backbone
from medssl.networks.mlp import MLP
from medssl.networks.pooling import GlobalMean
from medssl.ops.distributed import global_count


class SimCLR(nn.Module):
    """The loss of SimCLR: the two views of an image attract each other, those of all other images repel.

    The method of Chen et al. (2020, https://arxiv.org/abs/2002.05709), section 2.1: the coarsest features are averaged
    over space, projected, and contrasted by NT-Xent over the batch of all ranks. Only the layers that lead to the
    coarsest level are trained: the encoder of an `FPN`.

    Reads the batch keys ``view_1``, ``view_2`` of shape ``(B, C, *spatial)``.

    Args:
        backbone: what is trained and transferred, see `medssl.networks.backbone.Backbone`.
        hidden_channels: width of the projector's hidden layer.
        embedding_channels: length of an embedding.
        temperature: of NT-Xent.

    Example:
        >>> import torch
        >>> from medssl.networks.resnet import ResNet
        >>> method = SimCLR(ResNet(2, depth=10, base_channels=4), hidden_channels=16, embedding_channels=8)
        >>> sorted(method({"view_1": torch.rand(2, 1, 64, 64), "view_2": torch.rand(2, 1, 64, 64)}))
        ['collapse_distance', 'contrastive', 'loss']
    """

    def __init__(
        self,
        backbone: Backbone,
        hidden_channels: int = 2048,
        embedding_channels: int = 128,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        require_backbone(backbone)
        self.backbone = backbone
        self.pool = GlobalMean()
        self.projector = MLP(backbone.level_channels[-1], [hidden_channels], embedding_channels)
        self.contrast = InfoNCELoss(temperature)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss``, the same detached, and its distance from collapse (see `contrastive_losses`)."""
        z1, z2 = (self.embed(batch[key]) for key in ("view_1", "view_2"))
        return contrastive_losses(self.contrast(z1, z2), collapse_value(global_count(z1)))

    def embed(self, view: Tensor) -> Tensor:
        """Return the embeddings of views, shape ``(B, embedding_channels)``, not normalised."""
        return self.projector(self.pool(self.backbone(view)))
