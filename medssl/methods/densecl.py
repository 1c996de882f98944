"""DenseCL: contrast of images, and of matching cells of their feature maps."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from medssl.losses.queue_contrast import QueueContrastLoss, queue_collapse_value
from medssl.networks.backbone import Backbone, require_backbone
from medssl.networks.mlp import two_layers
from medssl.networks.queue import Queue
from medssl.networks.teacher import Teacher
from medssl.ops.coordinates import affine_of, cell_diagonal, cell_positions, require_whole_cell
from medssl.ops.distributed import gather_rows, global_count
from medssl.ops.matching import nearest_by_feature, nearest_by_location, take_cells


class DenseCL(nn.Module):
    r"""The loss of DenseCL: ``(1 - dense_weight)`` global plus ``dense_weight`` dense contrast.

    The method of Wang et al. (2021, https://arxiv.org/abs/2011.09157), equations 1 to 4. Queries of view 1 meet the
    teacher's keys of view 2: an image attracts its own key against a queue of keys of earlier images; a cell of the
    coarsest level attracts the key of its matching cell against a queue of the mean keys of earlier maps. The match of
    a cell is the one whose backbone features have the largest cosine, or, with ``matching="location"``, the one nearest
    in the image. By location, cells of view 1 outside view 2 are left out, and if none remain the dense loss of the
    step is 0. Only the encoder of an `FPN` is trained.

    Reads the batch keys ``view_1``, ``view_2`` of shape ``(B, C, *spatial)``; for matching by location ``affine_1``,
    ``affine_2`` of shape ``(B, d, d + 1)``, view voxel to image voxel.

    Args:
        backbone: what is trained and transferred, see `medssl.networks.backbone.Backbone`.
        embedding_channels: length of an embedding.
        queue_size: keys in each of the two queues.
        momentum: the teacher's.
        temperature: of both contrasts.
        dense_weight: lambda of equation 3.
        matching: ``feature``, as in the paper, or ``location``.

    Attributes:
        teacher: the moving average of backbone and heads, which gives the keys.
        queue: global keys of earlier batches.
        dense_queue: mean cell keys of earlier batches.

    Raises:
        ValueError: if `matching` is neither of the two, a queue is smaller than the batch of all ranks, a view is
            smaller than a cell of the coarsest level, or the batch lacks the affines that matching by location needs.

    Example:
        >>> import torch
        >>> from medssl.networks.resnet import ResNet
        >>> method = DenseCL(ResNet(2, depth=10, base_channels=4), embedding_channels=8, queue_size=16)
        >>> sorted(method({"view_1": torch.rand(2, 1, 64, 64), "view_2": torch.rand(2, 1, 64, 64)}))
        ['collapse_distance', 'contrastive', 'dense', 'global', 'loss', 'matched']
    """

    def __init__(
        self,
        backbone: Backbone,
        embedding_channels: int = 128,
        queue_size: int = 65536,
        momentum: float = 0.999,
        temperature: float = 0.2,
        dense_weight: float = 0.5,
        matching: str = "feature",
    ) -> None:
        super().__init__()
        require_backbone(backbone, located=matching == "location")
        if matching not in ("feature", "location"):
            raise ValueError(f"matching must be feature or location, got {matching!r}.")
        self.backbone = backbone
        self.heads = _Heads(backbone.level_channels[-1], embedding_channels)
        self.momentum = momentum
        self.contrast = QueueContrastLoss(temperature)
        self.dense_weight = dense_weight
        self.matching = matching
        self.teacher = Teacher(backbone, self.heads)
        self.queue = Queue(embedding_channels, queue_size)
        self.dense_queue = Queue(embedding_channels, queue_size)
        self.keys: tuple[Tensor, Tensor] | None = None

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss`` and, detached, its parts and the share of cells that have a match."""
        for number in (1, 2):
            require_whole_cell(batch[f"view_{number}"].shape[2:], self.backbone.strides[-1])
        query = self.heads(self.backbone(batch["view_1"]))
        key = self.teacher(batch["view_2"])
        index, matched = self.match(query, key, batch)
        of_images = self.contrast(query.image, key.image, self.queue.rows)
        of_cells = self._contrast_cells(query.cells[matched], take_cells(key.cells, index)[matched])
        self.keys = gather_rows(key.image), gather_rows(key.cells.mean(dim=1))
        loss = (1 - self.dense_weight) * of_images + self.dense_weight * of_cells
        parts = {"contrastive": loss, "global": of_images, "dense": of_cells, "matched": matched.float().mean()}
        parts["collapse_distance"] = queue_collapse_value(len(self.queue.rows)) - loss
        return {"loss": loss, **{name: value.detach() for name, value in parts.items()}}

    def match(self, query: "_Embedded", key: "_Embedded", batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return for each cell of view 1 its match in view 2, and whether it has one, both of shape ``(B, N)``."""
        if self.matching == "feature":
            _, index = nearest_by_feature(F.normalize(query.features, dim=2), F.normalize(key.features, dim=2))
            return index, index >= 0
        stride, first, affine = self.backbone.strides[-1], self.backbone.first_centres[-1], affine_of(batch, 2)
        places = [
            cell_positions(affine_of(batch, i), embedded.grid, stride, first).flatten(1, -2)
            for i, embedded in ((1, query), (2, key))
        ]
        distances, index = nearest_by_location(*places, largest_distance=cell_diagonal(affine, stride) / 2)
        return index, distances.isfinite()

    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student, and put the keys of the step into the queues.

        Args:
            progress: share of the training that is done; not used here.
        """
        self.teacher.update(self.backbone, self.heads, momentum=self.momentum)
        for queue, keys in zip((self.queue, self.dense_queue), self.keys, strict=True):
            queue.push(keys)
        self.keys = None

    def _contrast_cells(self, queries: Tensor, keys: Tensor) -> Tensor:
        if global_count(queries) == 0:
            return queries.float().sum()
        return self.contrast(queries, keys, self.dense_queue.rows)


class _Embedded(NamedTuple):
    """A batch of views: ``image`` (B, E); ``features`` (B, N, C) and ``cells`` (B, N, E), one row per cell."""

    image: Tensor
    features: Tensor
    cells: Tensor
    grid: tuple[int, ...]


class _Heads(nn.Module):
    """Embeds the mean of the coarsest level and each of its cells, by two layers each, without batch norm."""

    def __init__(self, channels: int, embedding_channels: int) -> None:
        super().__init__()
        self.projector, self.dense_projector = (two_layers(channels, channels, embedding_channels) for _ in range(2))

    def forward(self, pyramid: list[Tensor]) -> _Embedded:
        grid = tuple(pyramid[-1].shape[2:])
        features = pyramid[-1].flatten(2).mT
        return _Embedded(self.projector(features.mean(dim=1)), features, self.dense_projector(features), grid)
