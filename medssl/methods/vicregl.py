"""VICRegL: VICReg of whole views, and of matching cells of their feature maps."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from medssl.losses.vicreg import VICRegLoss
from medssl.networks.backbone import Backbone, require_backbone
from medssl.networks.mlp import MLP
from medssl.ops.coordinates import affine_of, cell_diagonal, cell_positions, require_whole_cell
from medssl.ops.distributed import global_count
from medssl.ops.matching import best_matches, nearest_by_feature, nearest_by_location, take_cells
from medssl.ops.spread import spread


class VICRegL(nn.Module):
    r"""The loss of VICRegL: ``alpha`` global plus ``1 - alpha`` (by location + by feature) VICReg.

    The method of Bardes et al. (2022, https://arxiv.org/abs/2210.01571), section 3: the mean of the coarsest level is
    expanded and compared between every global view and every other view. Its cells are projected, matched with the cell
    of the other view that is nearest in the image and with the one whose embedding is nearest, and the best matches are
    compared. Terms are averaged over pairs of views and over both directions of a match. Variance and covariance of
    cells are taken over all matched rows of the batch.

    A cell outside the other view has no match by location; the paper would take its nearest cell if it is among the
    best. If fewer than two cells of the batch have a match, the term is left out. Only the encoder of an `FPN` is
    trained.

    Reads the batch keys ``view_1``, ``view_2``, then ``view_3`` and on for local views, of shape ``(B, C, *spatial)``,
    which may differ between views; and for each of them ``affine_k`` of shape ``(B, d, d + 1)``, view voxel to image
    voxel.

    Args:
        backbone: what is trained and transferred, see `medssl.networks.backbone.Backbone`.
        expander_channels: width of the three layers that expand the mean.
        map_channels: width of the three layers that project a cell.
        alpha: weight of the global term, from 0 to 1.
        global_matches: number of cells of a global view that are compared.
        local_matches: number of cells of a local view that are compared.
        num_global: number of global views; they come first.

    Raises:
        ValueError: if there are fewer than two images, a view is smaller than a cell of the coarsest level, or the
            batch lacks a view's affine.

    Example:
        >>> from medssl.networks.resnet import ResNet
        >>> method = VICRegL(ResNet(2, depth=10, base_channels=4), expander_channels=8, map_channels=8)
        >>> batch = {f"view_{i}": torch.rand(2, 1, 64, 64) for i in (1, 2)}
        >>> batch |= {f"affine_{i}": torch.eye(2, 3).expand(2, 2, 3) for i in (1, 2)}
        >>> sorted(method(batch))
        ['collapse_distance', 'feature', 'global', 'location', 'loss', 'matched']
    """

    def __init__(
        self,
        backbone: Backbone,
        expander_channels: int = 8192,
        map_channels: int = 512,
        alpha: float = 0.75,
        global_matches: int = 20,
        local_matches: int = 4,
        num_global: int = 2,
    ) -> None:
        super().__init__()
        require_backbone(backbone, located=True)
        channels = backbone.level_channels[-1]
        self.backbone = backbone
        self.projector = MLP(channels, [expander_channels] * 2, expander_channels)
        self.map_projector = MLP(channels, [map_channels] * 2, map_channels)
        self.regularise = VICRegLoss()
        self.alpha = alpha
        self.global_matches = global_matches
        self.local_matches = local_matches
        self.num_global = num_global

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss`` and, detached, its terms, the share of best cells matched by location, and the spread."""
        numbers = sorted(int(key.removeprefix("view_")) for key in batch if key.startswith("view_"))
        views = [self.embed(batch[f"view_{i}"], affine_of(batch, i), i) for i in numbers]
        pairs = [(a, b) for a in views[: self.num_global] for b in views if a.number < b.number]
        of_images = [self.regularise(a.image, b.image) for a, b in pairs]
        directed = [pair for a, b in pairs for pair in ((a, b), (b, a))]
        by_feature = [self._compare(a, b, *nearest_by_feature(a.cells, b.cells)) for a, b in directed]
        by_location = [
            self._compare(a, b, *nearest_by_location(a.places, b.places, b.diagonal / 2)) for a, b in directed
        ]
        terms = {
            "global": torch.stack(of_images).mean(),
            "location": torch.stack([loss for loss, _ in by_location]).mean(),
            "feature": torch.stack([loss for loss, _ in by_feature]).mean(),
        }
        loss = self.alpha * terms["global"] + (1 - self.alpha) * (terms["location"] + terms["feature"])
        terms["matched"] = torch.stack([share for _, share in by_location]).mean()
        terms["collapse_distance"] = spread(views[0].image)
        return {"loss": loss, **{name: value.detach() for name, value in terms.items()}}

    def embed(self, view: Tensor, affine: Tensor, number: int) -> "_View":
        """Return the parts of a view that are compared."""
        stride = self.backbone.strides[-1]
        require_whole_cell(view.shape[2:], stride)
        level = self.backbone(view)[-1]
        features = level.flatten(2).mT
        return _View(
            number,
            image=self.projector(features.mean(dim=1)),
            cells=self.map_projector(features.flatten(0, 1)).unflatten(0, features.shape[:2]),
            places=cell_positions(affine, level.shape[2:], stride, self.backbone.first_centres[-1]).flatten(1, -2),
            diagonal=cell_diagonal(affine, stride),
        )

    def _compare(self, a: "_View", b: "_View", distances: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of the best matches of cells of view ``a`` in view ``b``, and the share that have a match."""
        count = self.global_matches if a.number <= self.num_global else self.local_matches
        smallest, best = best_matches(distances, count)
        matched = smallest.isfinite()
        rows = take_cells(a.cells, best)[matched]
        partners = take_cells(b.cells, index.gather(1, best))[matched]
        loss = self.regularise(rows, partners) if global_count(rows) > 1 else rows.float().sum() * 0
        return loss, matched.float().mean()


class _View(NamedTuple):
    """A batch of views: ``image`` (B, E); ``cells`` (B, N, F) at ``places`` (B, N, d); ``diagonal`` of a cell."""

    number: int
    image: Tensor
    cells: Tensor
    places: Tensor
    diagonal: Tensor
