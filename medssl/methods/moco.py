"""MoCo v2: contrast with a queue of embeddings from earlier batches."""

from torch import Tensor, nn

from medssl.losses.named import contrastive_losses
from medssl.losses.queue_contrast import QueueContrastLoss, queue_collapse_value
from medssl.networks.backbone import Backbone, require_backbone
from medssl.networks.mlp import two_layers
from medssl.networks.pooling import GlobalMean
from medssl.networks.queue import Queue
from medssl.networks.teacher import Teacher
from medssl.ops.distributed import gather_rows


class MoCo(nn.Module):
    """The loss of MoCo v2: a query attracts the teacher's key of the other view and repels a queue of older keys.

    The method of He et al. (2020, https://arxiv.org/abs/1911.05722), section 3, with the head and temperature of Chen
    et al. (2020, https://arxiv.org/abs/2003.04297): the coarsest features are averaged over space and projected by two
    layers without batch norm. The keys of a batch enter the queue after its step. Only the layers that lead to the
    coarsest level are trained: the encoder of an `FPN`.

    Batch norm is not shuffled (section 3.3 of the paper): queries and keys are normalised by the statistics of the
    batch of all ranks, which do not give a pair away as the statistics of a few images would.

    Reads the batch keys ``view_1`` (queries) and ``view_2`` (keys) of shape ``(B, C, *spatial)``.

    Args:
        backbone: what is trained and transferred, see `medssl.networks.backbone.Backbone`.
        embedding_channels: length of an embedding.
        queue_size: number of keys kept as negatives.
        momentum: the teacher's.
        temperature: of the contrast.

    Attributes:
        teacher: the moving average of backbone and projector, which gives the keys.
        queue: the keys of earlier batches.

    Raises:
        ValueError: if the queue is smaller than the batch of all ranks.

    Example:
        >>> import torch
        >>> from medssl.networks.resnet import ResNet
        >>> method = MoCo(ResNet(2, depth=10, base_channels=4), embedding_channels=8, queue_size=16)
        >>> sorted(method({"view_1": torch.rand(2, 1, 64, 64), "view_2": torch.rand(2, 1, 64, 64)}))
        ['collapse_distance', 'contrastive', 'loss']
    """

    def __init__(
        self,
        backbone: Backbone,
        embedding_channels: int = 128,
        queue_size: int = 65536,
        momentum: float = 0.999,
        temperature: float = 0.2,
    ) -> None:
        super().__init__()
        require_backbone(backbone)
        channels = backbone.level_channels[-1]
        self.backbone = backbone
        self.pool = GlobalMean()
        self.projector = two_layers(channels, channels, embedding_channels)
        self.momentum = momentum
        self.contrast = QueueContrastLoss(temperature)
        self.teacher = Teacher(backbone, self.pool, self.projector)
        self.queue = Queue(embedding_channels, queue_size)
        self.keys: Tensor | None = None

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss``, the same detached, and its distance from collapse (see `contrastive_losses`)."""
        keys = self.teacher(batch["view_2"])
        loss = self.contrast(self.embed(batch["view_1"]), keys, self.queue.rows)
        self.keys = gather_rows(keys)
        return contrastive_losses(loss, queue_collapse_value(len(self.queue.rows)))

    def embed(self, view: Tensor) -> Tensor:
        """Return the queries of views, shape ``(B, embedding_channels)``, not normalised."""
        return self.projector(self.pool(self.backbone(view)))

    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student, and put the keys of the step into the queue.

        Args:
            progress: share of the training that is done; not used here.
        """
        self.teacher.update(self.backbone, self.pool, self.projector, momentum=self.momentum)
        self.queue.push(self.keys)
        self.keys = None
