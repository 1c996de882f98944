"""What scans are registered by: features of a backbone, and self-similarity."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from monai.transforms import SpatialPad
from sklearn.decomposition import PCA
from torch import Tensor, nn

from medssl.atlas.descriptor import self_similarity
from medssl.atlas.fields import pooled
from medssl.evaluation.growing import GrowingInferer
from medssl.networks.heads import LinearHead
from medssl.networks.segmentation import SegmentationNetwork
from medssl.ops.windows import plan_windows
from medssl.probe.windows import central_features

_OVERLAP = 0.25
# Components further from their mean, in standard deviations, count as if they were there.
_FARTHEST = 3.0
_FITTED_CELLS = 20_000
# Of the largest variance of a component: components of less are noise, and are not scaled up to as much.
_LEAST_VARIANCE = 1e-6
# A scan of the median size has at most this many cells.
_MOST_CELLS = 500_000


def cell_factor(sizes: Sequence[Sequence[int]]) -> int:
    """Voxels per cell along each axis with which scans have few enough cells to be registered in seconds.

    Args:
        sizes: of the preprocessed scans, in voxels.

    Example:
        >>> cell_factor([(35, 50, 35)]), cell_factor([(150, 134, 94)])
        (1, 2)
    """
    middle = float(np.median([math.prod(size) for size in sizes]))
    return max(math.ceil((middle / _MOST_CELLS) ** (1 / 3)), 1)


class RegistrationMaps:
    """Maps a preprocessed scan to what it is registered by, shape ``(C, *cells)``, of values about -1 to 1.

    The first channels are the principal components of the features, fitted to one scan and scaled to its variance;
    the last twelve are `medssl.atlas.descriptor.self_similarity`. The backbone sees the scan at the resolution of the
    cells.

    Args:
        backbone: frozen.
        patch_size: of its training, in voxels. Its windows have at least this size.
        factor: voxels per cell along each axis.
        image: the scan that the components are fitted to, shape ``(C, *spatial)``.
        num_components: at most as many as the features have.
        seed: of the cells that they are fitted to.

    Raises:
        FloatingPointError: if a feature is not finite.

    Example:
        >>> from medssl.networks.fpn import FPN
        >>> image = torch.rand(1, 16, 18, 20)
        >>> maps = RegistrationMaps(FPN(base_channels=4, num_levels=2), (8, 8, 8), 2, image, num_components=5)
        >>> maps(image).shape
        torch.Size([17, 8, 9, 10])
    """

    def __init__(
        self,
        backbone: nn.Module,
        patch_size: Sequence[int],
        factor: int,
        image: Tensor,
        num_components: int = 16,
        seed: int = 0,
    ) -> None:
        self.factor = factor
        cells = pooled(image, factor)
        number = min(num_components, sum(backbone.level_channels), cells[0].numel())
        head = LinearHead(3, backbone.level_channels, number, upsampling="linear")
        self._fit(head, backbone, patch_size, cells, np.random.default_rng(seed))
        self.network = SegmentationNetwork(backbone, head, frozen=True).eval()
        self.windows = GrowingInferer(patch_size, backbone.strides[-1], _OVERLAP)

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Return the map of a preprocessed scan of shape ``(C, *spatial)``."""
        cells = pooled(image, self.factor)
        principal = self.windows(cells[None], self.network)[0] / _FARTHEST
        return torch.cat([principal.clamp(-1, 1), self_similarity(cells)])

    @staticmethod
    def _fit(
        head: LinearHead, backbone: nn.Module, patch_size: Sequence[int], cells: Tensor, rng: np.random.Generator
    ) -> None:
        """Fold the principal components of the features of some cells into a head."""
        plan = plan_windows(
            *(cells.shape[1:], patch_size, _OVERLAP), stride=backbone.strides[-1], largest_growth=math.inf
        )
        chosen = rng.permutation(cells[0].numel())[:_FITTED_CELLS]
        places = np.stack(np.unravel_index(chosen, cells.shape[1:]), axis=1)
        padded = SpatialPad(plan.roi_size, method="end")(cells)
        features = central_features(backbone, padded, places, plan.roi_size, plan.overlap, upsampling="linear")
        if not np.isfinite(features).all():
            raise FloatingPointError("The backbone gives features that are not finite, so scans cannot be registered.")
        number = head.convs[0].out_channels
        fitted = PCA(number, whiten=True, svd_solver="covariance_eigh").fit(features.astype(np.float64))
        variance = fitted.explained_variance_.clip(min=_LEAST_VARIANCE * max(fitted.explained_variance_[0], 1e-12))
        weights = torch.from_numpy(fitted.components_ / np.sqrt(variance)[:, None]).float()
        parts = weights.split(list(backbone.level_channels), dim=1)
        with torch.no_grad():
            for conv, part in zip(head.convs, reversed(parts), strict=True):
                conv.weight.copy_(part.reshape(conv.weight.shape))
            head.convs[-1].bias.copy_(-weights @ torch.from_numpy(fitted.mean_).float())
