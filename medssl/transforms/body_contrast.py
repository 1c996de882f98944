"""MR on one scale: the mean and the deviation of the body are those of every scan."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from torch import Tensor

from medssl.transforms.foreground import source_of

# Of the values of a channel: what counts as dark and as bright, and how far from dark to bright the body begins.
_DARK, _BRIGHT, _BODY = 0.01, 99.0, 0.1


class BodyContrastd(MapTransform):
    """Bring the mean and the deviation of the body to fixed values, and cut off what lies outside [0, 1], as float32.

    For MR, whose values have no unit. The body is what lies above a tenth of the way from the darkest values to the
    brightest (percentiles 0.01 and 99), so that neither the air around it nor a few bright voxels set the scale.
    An added constant and a positive factor of all values change nothing. Each channel is scaled alone.

    Args:
        keys: images of shape ``(C, *spatial)``; the tensors that go in stay as they are.
        mean: of the body.
        deviation: of the body, before values are cut off.

    Raises:
        ValueError: if the body of a channel has one value throughout, or a voxel is NaN; names the file.

    Example:
        >>> image = torch.tensor([[0.0, 0.0, 0.0, 100.0, 200.0, 300.0]])
        >>> BodyContrastd("image", mean=0.5, deviation=0.1)({"image": image})["image"]
        tensor([[0.2551, 0.2551, 0.2551, 0.3775, 0.5000, 0.6225]])
    """

    def __init__(
        self, keys: KeysCollection, mean: float = 0.45, deviation: float = 0.2, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mean = mean
        self.deviation = deviation

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Give the sample with its images scaled."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            image = sample[key].to(torch.float32, copy=True)
            for channel in image.as_subclass(Tensor):
                self._scale(channel, source_of(image))
            sample[key] = image
        return sample

    def _scale(self, channel: Tensor, source: str) -> None:
        body = _body(channel.detach().cpu().numpy())
        deviation = float(body.std(dtype=np.float64)) if body.size else 0.0
        if not deviation > 0:
            raise ValueError(f"The body in {source} has one value throughout, or voxels that are not numbers.")
        mean = float(body.mean(dtype=np.float64))
        channel.sub_(mean).mul_(self.deviation / deviation).add_(self.mean).clamp_(0, 1)


def _body(values: NDArray[np.float32]) -> NDArray[np.float32]:
    dark, bright = np.percentile(values, [_DARK, _BRIGHT])
    return values[values >= dark + _BODY * (bright - dark)]
