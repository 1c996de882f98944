"""Superpixels of an image: small regions whose borders follow its intensities."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import MapTransform
from numpy.typing import NDArray
from skimage.segmentation import slic
from torch import Tensor

_OF_A_SLICE = 100
_VOXELS_OF_A_SUPERVOXEL = 2500


class Superpixelsd(MapTransform):
    """Add the superpixels (2D) or supervoxels (3D) of an image: the id of the region of every voxel.

    SLIC (Achanta et al., 2012) as in SuperCL (Zeng et al.), on the mean over channels, scaled from its minimum and
    maximum to 0..1. It belongs in the deterministic preprocessing, which runs once per image. The result, under the key
    ``regions``, is int32 of shape ``(1, *spatial)`` with ids from 0.

    `compactness` weighs distance against intensity. The public code of SuperCL uses 10, but on an image stacked to
    three channels, which scikit-image converts to Lab, where lightness reaches 100. On one channel in 0..1, 10 gives a
    plain grid and 0.1 the regions of that code.

    Args:
        keys: keys of the images, shape ``(C, *spatial)``.
        patch_size: size of the views that are later cut from the image.
        num_regions: average number of regions in a patch of this size; ``None``: 100 in 2D, as in SuperCL, and one for
            every 2,500 voxels in 3D (354 in 96 x 96 x 96).
        compactness: above 0; the higher it is, the more regular the regions.

    Raises:
        ValueError: if a number is not above 0, or image and patch differ in their number of axes.

    Example:
        >>> image = torch.zeros(1, 16, 16)
        >>> image[:, :, 5:] = 1
        >>> Superpixelsd("image", patch_size=(16, 16), num_regions=4)({"image": image})["regions"][0, 0]
        tensor([0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], dtype=torch.int32)
    """

    def __init__(
        self,
        keys: KeysCollection,
        patch_size: Sequence[int],
        num_regions: int | None = None,
        compactness: float = 0.1,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.patch_size = tuple(patch_size)
        voxels = int(np.prod(self.patch_size))
        if num_regions is None:
            num_regions = _OF_A_SLICE if len(self.patch_size) == 2 else max(voxels // _VOXELS_OF_A_SUPERVOXEL, 2)
        if num_regions <= 0 or compactness <= 0:
            raise ValueError(f"num_regions and compactness must be above 0, got {num_regions} and {compactness}.")
        self.voxels_per_region = voxels / num_regions
        self.compactness = compactness

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the case with its regions added."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            image = sample[key]
            if image.dim() != len(self.patch_size) + 1:
                raise ValueError(
                    f"patch_size {list(self.patch_size)} needs an image of {len(self.patch_size)} spatial axes, got "
                    f"shape {tuple(image.shape)}; choose a data recipe with as many axes."
                )
            grey = image.detach().as_subclass(Tensor).float().mean(0).numpy()
            count = max(round(grey.size / self.voxels_per_region), 1)
            sample["regions"] = torch.from_numpy(superpixels(grey, count, _spacing(image), self.compactness)[None])
        return sample


def superpixels(
    image: NDArray[np.floating], num_regions: int, spacing: Sequence[float], compactness: float = 0.1
) -> NDArray[np.int32]:
    """Compute the id of the region of every voxel, from 0, in the shape of the image.

    Args:
        image: 2D or 3D image in any units.
        num_regions: approximate number of regions.
        spacing: distance between voxels along each axis; only the proportions matter.
        compactness: see `Superpixelsd`.

    Example:
        >>> superpixels(np.zeros((8, 8)), 4, spacing=(1.0, 1.0))[::7, ::7]
        array([[0, 1],
               [2, 3]], dtype=int32)
    """
    # scikit-image counts its step in voxels but distances in units of the spacing, so millimetres would change the
    # effective compactness; a geometric mean of 1 avoids that.
    proportions = np.asarray(spacing, float) / np.prod(spacing) ** (1 / len(spacing))
    regions = slic(
        image, n_segments=num_regions, compactness=compactness, spacing=proportions, channel_axis=None, start_label=0
    )
    return regions.astype(np.int32)


def _spacing(image: Tensor) -> Sequence[float]:
    dims = image.dim() - 1
    return affine_to_spacing(image.affine, r=dims).tolist() if isinstance(image, MetaTensor) else [1.0] * dims
