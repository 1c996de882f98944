"""SuperCL: superpixels say which cells of an image, and which images, are similar."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from medssl.losses.info_nce import InfoNCELoss
from medssl.losses.neighbour_contrast import NeighbourContrastLoss
from medssl.losses.position_contrast import PositionContrastLoss
from medssl.losses.supervised_contrast import SupConLoss, supcon_collapse_value
from medssl.networks.backbone import Backbone, require_backbone
from medssl.networks.mlp import MLP, two_layers
from medssl.networks.pooling import GlobalMean
from medssl.ops.neighbours import neighbour_components
from medssl.ops.pairs import paired_rows
from medssl.ops.pyramid import gather_levels
from medssl.ops.regions import pool_regions, regions_of_cells

_STRIDE = {2: 16, 3: 4}


class SuperCL(nn.Module):
    r"""The losses of superpixel-guided contrast: within an image, between images, and of whole images.

    :math:`\lambda_1 L_{ins} + \lambda_2 L_{intra} + \lambda_3 L_{inter}` of Zeng et al., "SuperCL: Superpixel guided
    contrastive learning for medical image segmentation pre-training":

    * :math:`L_{intra}`: within an image, cells of one superpixel are positives of each other (ILCP).
    * :math:`L_{inter}`: images are positives if a path of nearest neighbours joins their average superpixel feature
      maps (IGCP with ASP and CCL); there is no threshold. The maps come from views 1 and 2; views 3 and 4 are
      contrasted.
    * :math:`L_{ins}`: SimCLR, PCL or WCL on views 3 and 4.

    The cells are those of the body voxels drawn at random with the views; the public code takes every 16th in the order
    of rows, which on a map 32 wide is two columns.

    Reads the batch keys ``view_1`` to ``view_4`` of shape ``(B, C, *spatial)``: 1 and 2 differ in intensity, 3 and 4
    are the same two after changes of geometry; ``regions_1``, ``regions_2`` of shape ``(B, *spatial)``; ``voxels_1``,
    ``voxels_2`` of shape ``(N, 1 + spatial_dims)``; for PCL ``position`` of shape ``(B, P)``.

    Args:
        backbone: what is trained and transferred; the paper's is the encoder of a U-Net.
        hidden_channels: width of the hidden layer of the image projector, and of WCL's second one.
        embedding_channels: width of the image embedding.
        cell_channels: width of the cell embedding; the paper draws a projector for cells, the public code has none.
        cell_stride: largest stride of the level whose cells are contrasted and averaged; None is 16 in 2D, as in the
            paper, and 4 in 3D, where a supervoxel is smaller than a cell of stride 16.
        temperature: of all contrasts. The public code also multiplies the losses by ``temperature / 0.07``.
        instance_loss: ``"pcl"``, as for the slices of scans in the paper, ``"wcl"`` or ``"simclr"``.
        threshold: for positions, see `medssl.methods.pcl.PCL`.
        divisor: see `medssl.ops.regions.pool_regions`.
        instance_weight: :math:`\lambda_1`.
        intra_weight: :math:`\lambda_2`.
        inter_weight: :math:`\lambda_3`.

    Raises:
        ValueError: if there is no such instance loss, the batch has a single pair, or PCL has no positions.

    Example:
        >>> from medssl.networks.unet import UNetEncoder
        >>> method = SuperCL(UNetEncoder(2, base_channels=4, num_levels=2), instance_loss="simclr")
        >>> batch = {f"view_{i}": torch.rand(2, 1, 8, 8) for i in (1, 2, 3, 4)}
        >>> batch |= {f"regions_{i}": torch.arange(8).expand(2, 8, 8) // 4 for i in (1, 2)}
        >>> batch |= {f"voxels_{i}": torch.tensor([[0, 1, 1], [0, 7, 7], [1, 2, 2], [1, 1, 5]]) for i in (1, 2)}
        >>> [name for name in method(batch) if "collapse" not in name]
        ['loss', 'intra', 'inter', 'contrastive']
    """

    def __init__(
        self,
        backbone: Backbone,
        hidden_channels: int = 512,
        embedding_channels: int = 512,
        cell_channels: int = 128,
        cell_stride: int | None = None,
        temperature: float = 0.1,
        instance_loss: Literal["pcl", "wcl", "simclr"] = "pcl",
        threshold: float = 0.1,
        divisor: Literal["region", "image"] = "region",
        instance_weight: float = 1.0,
        intra_weight: float = 1.0,
        inter_weight: float = 0.5,
    ) -> None:
        super().__init__()
        require_backbone(backbone)
        if instance_loss not in ("pcl", "wcl", "simclr"):
            raise ValueError(f"instance_loss must be pcl, wcl or simclr, got {instance_loss!r}.")
        widths = backbone.level_channels
        self.backbone = backbone
        stride = cell_stride or _STRIDE[backbone.spatial_dims]
        self.level = max((i for i, s in enumerate(backbone.strides) if s <= stride), default=0)
        self.pool = GlobalMean()
        self.projector = two_layers(widths[-1], hidden_channels, embedding_channels)
        self.cell_projector = MLP(widths[self.level], [widths[self.level]], cell_channels)
        self.contrast = SupConLoss(temperature)
        is_pcl, is_wcl = instance_loss == "pcl", instance_loss == "wcl"
        self.position_contrast = PositionContrastLoss(temperature, threshold) if is_pcl else None
        self.instance_contrast = InfoNCELoss(temperature)
        self.graph_projector = two_layers(widths[-1], hidden_channels, embedding_channels) if is_wcl else None
        self.graph_contrast = NeighbourContrastLoss(temperature)
        self.divisor = divisor
        self.weights = {"contrastive": instance_weight, "graph": instance_weight}
        self.weights |= {"intra": intra_weight, "inter": inter_weight}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss`` and its detached parts; ``contrastive`` and, with WCL, ``graph`` are the instance loss."""
        vectors = [self.pool(self.backbone(batch[f"view_{i}"])) for i in (3, 4)]
        z = [self.projector(v) for v in vectors]
        rows = paired_rows(z)
        maps = [self.backbone(batch[f"view_{i}"])[self.level] for i in (1, 2)]
        regions = [regions_of_cells(batch[f"regions_{i}"], self.backbone.strides[self.level]) for i in (1, 2)]
        intra, intra_collapse = self._within_images(maps, regions, [batch["voxels_1"], batch["voxels_2"]])
        parts = {"intra": intra, "inter": self.contrast(rows, self.alike(maps, regions))}
        if self.position_contrast is None:
            parts["contrastive"] = self.instance_contrast(*z)
        else:
            parts["contrastive"] = self.position_contrast(*z, batch.get("position"))
        if self.graph_projector is not None:
            parts["graph"] = self.graph_contrast(*(self.graph_projector(v) for v in vectors))
        loss = sum(self.weights[name] * part for name, part in parts.items())
        detached = {name: part.detach() for name, part in parts.items()}
        distances = {
            "collapse_distance": supcon_collapse_value(len(rows)) - detached["contrastive"],
            "intra_collapse_distance": intra_collapse - detached["intra"],
        }
        return {"loss": loss, **detached, **distances}

    # The number of cells differs from batch to batch, and each would need a compiled graph of its own.
    @torch.compiler.disable
    def _within_images(
        self, maps: Sequence[Tensor], regions: Sequence[Tensor], voxels: Sequence[Tensor]
    ) -> tuple[Tensor, float]:
        """Return the mean loss over images of the cells that hold the voxels, and its value at collapse."""
        stride = self.backbone.strides[self.level]
        cells = [torch.cat([v[:, :1], v[:, 1:] // stride], dim=1).unique(dim=0) for v in voxels]
        features = torch.cat([gather_levels([m], c, [1])[0] for m, c in zip(maps, cells, strict=True)])
        labels = torch.cat([r[c.unbind(1)] for r, c in zip(regions, cells, strict=True)])
        image = torch.cat(cells)[:, 0]
        z = self.cell_projector(features)
        members = [image == i for i in image.unique()]
        costs = [self.contrast(z[cells], labels[cells]) for cells in members]
        collapse = sum(supcon_collapse_value(int(cells.sum())) for cells in members) / len(members)
        return torch.stack(costs).mean(), collapse

    @torch.compiler.disable
    def alike(self, maps: Sequence[Tensor], regions: Sequence[Tensor]) -> Tensor:
        """Return which images are similar, a bool mask ``(2N, 2N)`` over both views of the images of all ranks.

        Args:
            maps: features of the cells of both views, shape ``(B, C, *cells)``.
            regions: of the cells, shape ``(B, *cells)``.
        """
        both = zip(maps, regions, strict=True)
        means = [pool_regions(m.detach().mean(1, keepdim=True), r, self.divisor).flatten(1) for m, r in both]
        labels = neighbour_components(paired_rows(means))
        image = torch.arange(len(labels) // 2, device=labels.device).repeat(2)
        return (labels[:, None] == labels) | (image[:, None] == image)
