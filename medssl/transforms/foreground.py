"""Find the body in a scan, so that views and voxels are drawn from it and not from the air around it."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ImageMetaKey, convert_to_numpy
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor


class Above:
    """Select the voxels at or above a threshold, as the ``select_fn`` of MONAI's `CropForegroundd` in a config.

    Args:
        threshold: in the units of the image.

    Example:
        >>> Above(-500.0)(torch.tensor([-1000.0, -500.0, 40.0]))
        tensor([False,  True,  True])
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def __call__(self, image: Tensor) -> Tensor:
        """Give the mask of the voxels at or above the threshold."""
        return image >= self.threshold


def body_mask(image: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Give the mask of all voxels but the air outside the body; air in lungs and bowel belongs to the body.

    Air is what lies below the threshold. It is outside where a path of face neighbours in air joins it to the border
    of the image; in 3D to the border of the first two axes, since lungs may leave the scan through its first or last
    slice. As in vox2vec (Goncharov et al., 2023), which floods from the padded corner through edges and corners too.

    Args:
        image: shape ``(H, W)`` or ``(H, W, D)``.
        threshold: in the units of the image.

    Example:
        >>> slice_ = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 1, 0]])
        >>> body_mask(slice_, 0.5)[:3].astype(int)
        array([[0, 0, 0, 0, 0],
               [0, 1, 1, 1, 0],
               [0, 1, 1, 1, 0]])
    """
    components, _ = ndimage.label(image < threshold)
    borders = [components[0], components[-1], components[:, 0], components[:, -1]]
    is_outside = np.zeros(components.max() + 1, dtype=bool)
    for border in borders:
        is_outside[border] = True
    is_outside[0] = False
    return ~is_outside[components]


class BodyMaskd(MapTransform):
    """Add the mask of the body, bool of the shape of the image with one channel (see `body_mask`).

    Args:
        keys: the image, of shape ``(C, *spatial)``; its first channel is thresholded.
        threshold: below it is air, in the units of the image: -500 HU in CT, or where CT is scaled from -1350..1000
            HU to 0..1 (-500 + 1350) / 2350 = 0.3617; 0.3 in MR scaled to 0..1 (Kats et al., 2024, section 3.1).
        foreground_key: of the mask.

    Raises:
        ValueError: if there is no body in an image; names its file.

    Example:
        >>> image = torch.zeros(1, 5, 5)
        >>> image[:, 1:4, 1:4] = 0.5
        >>> BodyMaskd("image", threshold=0.3)({"image": image})["foreground"].sum()
        tensor(9)
    """

    def __init__(
        self,
        keys: KeysCollection,
        threshold: float,
        foreground_key: str = "foreground",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.threshold = threshold
        self.foreground_key = foreground_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Give the case with the mask of the body added."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            image = sample[key]
            mask = body_mask(convert_to_numpy(image[0]), self.threshold)
            if not mask.any():
                raise ValueError(
                    f"There is no body in {_source(image)}: every voxel is below the threshold {self.threshold}, or "
                    f"joined to the border by such voxels (values go from {image.min():g} to {image.max():g}). "
                    "Check the scan and its modality, or lower the threshold."
                )
            sample[self.foreground_key] = torch.from_numpy(mask[None])
        return sample


def _source(image: Tensor) -> str:
    return (
        str(image.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "an image")) if isinstance(image, MetaTensor) else "an image"
    )
