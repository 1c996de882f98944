"""BYOL: a student predicts what its own moving average sees in another view."""

from torch import Tensor, nn

from medssl.losses.cosine import CosineLoss
from medssl.networks.backbone import Backbone, require_backbone
from medssl.networks.mlp import MLP
from medssl.networks.pooling import GlobalMean
from medssl.networks.teacher import Teacher
from medssl.ops.momentum import cosine_momentum
from medssl.ops.spread import spread


class BYOL(nn.Module):
    """The loss of BYOL: the distance between a student's prediction and the teacher's embedding of another view.

    The method of Grill et al. (2020, https://arxiv.org/abs/2006.07733), section 3.1: the coarsest features are averaged
    over space and projected; a predictor maps the student's embedding of each view to the teacher's of the other. The
    two distances are added. The teacher follows the student with a momentum that rises to 1 along a cosine. Only the
    layers that lead to the coarsest level are trained: the encoder of an `FPN`.

    Reads the batch keys ``view_1``, ``view_2`` of shape ``(B, C, *spatial)``.

    Args:
        backbone: what is trained and transferred, see `medssl.networks.backbone.Backbone`.
        hidden_channels: width of the hidden layer of projector and predictor.
        embedding_channels: length of an embedding.
        momentum: the teacher's, at the start of the training.

    Attributes:
        teacher: the moving average of backbone and projector.

    Example:
        >>> import torch
        >>> from medssl.networks.resnet import ResNet
        >>> method = BYOL(ResNet(2, depth=10, base_channels=4), hidden_channels=16, embedding_channels=8)
        >>> sorted(method({"view_1": torch.rand(2, 1, 64, 64), "view_2": torch.rand(2, 1, 64, 64)}))
        ['collapse_distance', 'loss']
    """

    def __init__(
        self,
        backbone: Backbone,
        hidden_channels: int = 4096,
        embedding_channels: int = 256,
        momentum: float = 0.996,
    ) -> None:
        super().__init__()
        require_backbone(backbone)
        self.backbone = backbone
        self.pool = GlobalMean()
        self.projector = MLP(backbone.level_channels[-1], [hidden_channels], embedding_channels)
        self.predictor = MLP(embedding_channels, [hidden_channels], embedding_channels)
        self.momentum = momentum
        self.distance = CosineLoss()
        self.teacher = Teacher(backbone, self.pool, self.projector)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss`` and as ``collapse_distance`` the `spread` of the student's embeddings, 0 at collapse."""
        view_1, view_2 = batch["view_1"], batch["view_2"]
        z1, z2 = self.embed(view_1), self.embed(view_2)
        loss = self.distance(self.predictor(z1), self.teacher(view_2))
        loss = loss + self.distance(self.predictor(z2), self.teacher(view_1))
        return {"loss": loss, "collapse_distance": spread(z1)}

    def embed(self, view: Tensor) -> Tensor:
        """Return the student's embeddings of views, shape ``(B, embedding_channels)``."""
        return self.projector(self.pool(self.backbone(view)))

    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student.

        Args:
            progress: share of the training that is done, from 0 to 1.
        """
        momentum = cosine_momentum(self.momentum, progress)
        self.teacher.update(self.backbone, self.pool, self.projector, momentum=momentum)
