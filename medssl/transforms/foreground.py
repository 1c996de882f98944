"""Find the body in a scan, so that views and voxels are drawn from it and not from the air around it."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import CropForeground, CropForegroundd, MapTransform
from monai.transforms.utils import check_non_lazy_pending_ops
from monai.utils import ImageMetaKey
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor


class Above:
    """The voxels at or above a threshold: a ``select_fn`` for MONAI's `CropForegroundd` that a config can name.

    Args:
        threshold: in the units of the image.

    Example:
        >>> Above(-500.0)(torch.tensor([-1000.0, -500.0, 40.0]))
        tensor([False,  True,  True])
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def __call__(self, image: Tensor) -> Tensor:
        """Return the mask of the voxels at or above the threshold."""
        return image >= self.threshold


def body_mask(image: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """The mask of all voxels except the air outside the body; air in lungs and bowel belongs to the body.

    Air is what lies below the threshold. It is outside if a path of face neighbours in air joins it to the border of
    the image; in 3D, to the border of the first two axes, since lungs may leave the scan through its first or last
    slice. As in vox2vec (Goncharov et al., 2023), whose paths also go through edges and corners.

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
    # A frame of air around the first two axes joins all air outside.
    air = np.pad(image < threshold, [(1, 1), (1, 1), (0, 0)][: image.ndim], constant_values=True)
    # SciPy labels fastest in the order of memory.
    order = np.argsort([-stride for stride in air.strides], kind="stable")
    components, _ = ndimage.label(air.transpose(order))
    inside = components != components.flat[0]
    return inside.transpose(np.argsort(order))[1:-1, 1:-1]


class CropBodyd(CropForegroundd):
    """The case cropped to the box around the body: MONAI's ``CropForegroundd`` for a threshold, many times faster.

    The box holds every voxel of the source at or above the threshold, in any channel, and a margin that ends at the
    border of the image.

    Args:
        keys: images to crop, all on the grid of the source.
        source_key: image of shape ``(C, *spatial)``, of any number type.
        threshold: in the units of the image, such as -500 HU (Kats et al., 2024, section 3.1).
        margin: voxels.
        allow_missing_keys: skip keys that the sample lacks.

    Raises:
        ValueError: if every voxel is below the threshold; names the file.

    Example:
        >>> image = torch.full((1, 8, 8), -1000, dtype=torch.int16)
        >>> image[:, 2:5, 3:7] = 40
        >>> CropBodyd("image", source_key="image", threshold=-500)({"image": image})["image"].shape
        torch.Size([1, 5, 6])
    """

    def __init__(
        self,
        keys: KeysCollection,
        source_key: str,
        threshold: float,
        margin: int = 1,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(
            keys,
            source_key,
            Above(threshold),
            margin=margin,
            allow_smaller=True,
            allow_missing_keys=allow_missing_keys,
        )
        self.cropper = _CropAbove(threshold, margin)


class _CropAbove(CropForeground):
    def __init__(self, threshold: float, margin: int) -> None:
        super().__init__(Above(threshold), margin=margin, allow_smaller=True)
        self.threshold = threshold

    def compute_bounding_box(self, img: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        check_non_lazy_pending_ops(img, name="CropBodyd")
        planes = _planes_above(img, self.threshold)
        if not planes[0].any():
            raise ValueError(
                f"There is no body in {source_of(img)}: every voxel is below the threshold {self.threshold} "
                f"(values go up to {img.max():g}). Check the scan and its modality, or lower the threshold."
            )
        ends = [np.flatnonzero(plane)[[0, -1]] for plane in planes]
        start = [max(first - self.margin, 0) for first, _ in ends]
        end = [min(last + 1 + self.margin, len(plane)) for (_, last), plane in zip(ends, planes, strict=True)]
        return np.array(start), np.array(end)


def _planes_above(image: Tensor, threshold: float) -> list[NDArray[np.bool_]]:
    """For every spatial axis, which planes across it hold a voxel at or above the threshold.

    The image is read once in the order of memory; a mask of the whole image would take longer to allocate.
    """
    planes = [np.zeros(size, dtype=bool) for size in image.shape[1:]]
    for channel in _voxels(image):
        order = sorted(range(channel.ndim), key=lambda axis: -abs(channel.strides[axis]))
        for index, slab in enumerate(channel.transpose(order)):
            above = slab >= threshold
            planes[order[0]][index] |= above.any()
            for place, axis in enumerate(order[1:]):
                planes[axis] |= above.any(axis=tuple(other for other in range(above.ndim) if other != place))
    return planes


def _voxels(image: Tensor) -> NDArray[np.number]:
    """The voxels in their order in memory, which MONAI's conversion would change."""
    return (image.as_tensor() if isinstance(image, MetaTensor) else image).detach().cpu().numpy()


class BodyMaskd(MapTransform):
    """The case with the mask of the body added: bool, the shape of the image with one channel (see `body_mask`).

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
        """Return the case with the mask of the body added."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            image = sample[key]
            mask = body_mask(_voxels(image)[0], self.threshold)
            if not mask.any():
                raise ValueError(
                    f"There is no body in {source_of(image)}: every voxel is below the threshold {self.threshold}, or "
                    f"joined to the border by such voxels (values go from {image.min():g} to {image.max():g}). "
                    "Check the scan and its modality, or lower the threshold."
                )
            sample[self.foreground_key] = torch.from_numpy(mask[None])
        return sample


def source_of(image: Tensor) -> str:
    """Give the file that an image was read from, for a message; "an image" where that is not known."""
    return (
        str(image.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "an image")) if isinstance(image, MetaTensor) else "an image"
    )
