"""WCL: images that the network itself finds similar attract each other."""

from torch import Tensor, nn

from medssl.losses.info_nce import InfoNCELoss, collapse_value
from medssl.losses.named import contrastive_losses
from medssl.losses.neighbour_contrast import NeighbourContrastLoss
from medssl.networks.backbone import Backbone, require_backbone
from medssl.networks.mlp import MLP
from medssl.networks.pooling import GlobalMean
from medssl.ops.distributed import global_count


class WCL(nn.Module):
    """The losses of weakly supervised contrastive learning: InfoNCE on one head, weak labels on another.

    The embeddings of the first head are contrasted as in SimCLR. Those of the second give weak labels, the connected
    components of their nearest-neighbour graph, and the labels of each view supervise the contrast in the other (Zheng
    et al., 2021, https://arxiv.org/abs/2110.04770). There are two heads because the first pushes apart what the second
    draws together. The paper's additional crops, with positives from k nearest neighbours, are left out.

    Reads the batch keys ``view_1``, ``view_2`` of shape ``(B, C, *spatial)``.

    Args:
        backbone: what is trained and transferred, see `medssl.networks.backbone.Backbone`.
        hidden_channels: width of the hidden layer of both heads; the public code has 4,096, followed by 256.
        embedding_channels: width of both embeddings.
        temperature: of both contrasts.
        graph_weight: weight of the loss of the weak labels.

    Raises:
        ValueError: if the batch has a single pair.

    Example:
        >>> import torch
        >>> from medssl.networks.unet import UNetEncoder
        >>> method = WCL(UNetEncoder(2, base_channels=4, num_levels=2), hidden_channels=16, embedding_channels=8)
        >>> view = torch.rand(3, 1, 8, 8)
        >>> sorted(method({"view_1": view, "view_2": view}))
        ['collapse_distance', 'contrastive', 'graph', 'loss']
    """

    def __init__(
        self,
        backbone: Backbone,
        hidden_channels: int = 2048,
        embedding_channels: int = 128,
        temperature: float = 0.1,
        graph_weight: float = 1.0,
    ) -> None:
        super().__init__()
        require_backbone(backbone)
        self.backbone = backbone
        self.pool = GlobalMean()
        self.projector = MLP(backbone.level_channels[-1], [hidden_channels], embedding_channels)
        self.graph_projector = MLP(backbone.level_channels[-1], [hidden_channels], embedding_channels)
        self.contrast = InfoNCELoss(temperature)
        self.graph_contrast = NeighbourContrastLoss(temperature)
        self.graph_weight = graph_weight

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss`` and its detached parts for one batch."""
        vectors = [self.pool(self.backbone(batch[f"view_{i}"])) for i in (1, 2)]
        contrastive = self.contrast(*(self.projector(v) for v in vectors))
        graph = self.graph_contrast(*(self.graph_projector(v) for v in vectors))
        losses = contrastive_losses(contrastive, collapse_value(global_count(vectors[0])))
        return {**losses, "loss": contrastive + self.graph_weight * graph, "graph": graph.detach()}
