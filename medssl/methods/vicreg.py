"""VICReg: views of an image agree while the channels stay spread and uncorrelated."""

from torch import Tensor, nn

from medssl.losses.named import losses_of_terms
from medssl.losses.vicreg import VICRegLoss
from medssl.networks.backbone import Backbone, require_backbone
from medssl.networks.mlp import MLP
from medssl.networks.pooling import GlobalMean
from medssl.ops.spread import spread


class VICReg(nn.Module):
    """The loss of VICReg: invariance between views, variance and decorrelation of the channels.

    The method of Bardes et al. (2022, https://arxiv.org/abs/2105.04906), section 4: the coarsest features are averaged
    over space and expanded by a wide network. It needs no negatives and no teacher. Only the layers that lead to the
    coarsest level are trained: the encoder of an `FPN`.

    Reads the batch keys ``view_1``, ``view_2`` of shape ``(B, C, *spatial)``.

    Args:
        backbone: what is trained and transferred, see `medssl.networks.backbone.Backbone`.
        expander_channels: width of the three layers of the expander.
        invariance: weight of the mean squared difference of the views.
        variance: weight of the variance term, averaged over the views (see `VICRegLoss`).
        covariance: weight of the covariance term, added over the views.

    Example:
        >>> import torch
        >>> from medssl.networks.resnet import ResNet
        >>> method = VICReg(ResNet(2, depth=10, base_channels=4), expander_channels=8)
        >>> sorted(method({"view_1": torch.rand(2, 1, 64, 64), "view_2": torch.rand(2, 1, 64, 64)}))
        ['collapse_distance', 'covariance', 'invariance', 'loss', 'variance']
    """

    def __init__(
        self,
        backbone: Backbone,
        expander_channels: int = 8192,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
    ) -> None:
        super().__init__()
        require_backbone(backbone)
        self.backbone = backbone
        self.pool = GlobalMean()
        self.projector = MLP(backbone.level_channels[-1], [expander_channels] * 2, expander_channels)
        self.regularise = VICRegLoss(invariance, variance, covariance)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss``, its terms, and as ``collapse_distance`` the `spread` of the embeddings, 0 at collapse."""
        z1, z2 = (self.embed(batch[key]) for key in ("view_1", "view_2"))
        return {**losses_of_terms(self.regularise, z1, z2), "collapse_distance": spread(z1)}

    def embed(self, view: Tensor) -> Tensor:
        """Return the embeddings of views, shape ``(B, expander_channels)``."""
        return self.projector(self.pool(self.backbone(view)))
