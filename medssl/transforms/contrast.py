"""Random changes of contrast that MONAI lacks, for single images (apply them with `PerViewd`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import RandBiasField, RandomizableTransform
from monai.utils import convert_to_tensor
from torch import Tensor


class RandInvert(RandomizableTransform):
    """Swap bright and dark between the minimum and the maximum of the image.

    Args:
        prob: probability of inverting an image.

    Example:
        >>> RandInvert(prob=1.0)(torch.tensor([[0.0, 0.25, 2.0]]))
        tensor([[2.0000, 1.7500, 0.0000]])
    """

    def __init__(self, prob: float = 0.35) -> None:
        super().__init__(prob)

    def __call__(self, img: Tensor, randomize: bool = True) -> Tensor:
        """Return the image or its inverse.

        Args:
            img: shape ``(C, *spatial)``.
            randomize: False repeats the last draw.
        """
        if randomize:
            self.randomize(None)
        image = convert_to_tensor(img, dtype=torch.float32, track_meta=False)
        return image.min() + image.max() - image if self._do_transform else image


class RandLimitedBiasField(RandBiasField):
    """Multiply an image by a smooth random field that nowhere exceeds a limit.

    MONAI's field is the exponential of a random polynomial. In 3D a polynomial of degree 3 has 20 coefficients, so that
    its exponential reaches the thousands where those of a 2D paper stay below ten; here the polynomial is scaled down
    until its largest magnitude is `limit`.

    Args:
        limit: largest magnitude of the logarithm of the field: with 0.9 the field lies between 0.41 and 2.46.
        **options: of `monai.transforms.RandBiasField`.

    Example:
        >>> shade = RandLimitedBiasField(limit=0.5, prob=1.0, degree=3, coeff_range=(-0.9, 0.9)).set_random_state(0)
        >>> field = shade(torch.ones(1, 8, 8, 8))
        >>> round(float(field.log().abs().max()), 4)
        0.5
    """

    def __init__(self, limit: float = 0.9, **options: Any) -> None:
        super().__init__(**options)
        self.limit = limit

    def __call__(self, img: Tensor, randomize: bool = True) -> Tensor:
        """Return the image, multiplied by the field or as it is.

        Args:
            img: shape ``(C, *spatial)``.
            randomize: False repeats the last draw.
        """
        image = convert_to_tensor(img, dtype=torch.float32, track_meta=False)
        exponent = convert_to_tensor(super().__call__(torch.ones_like(image), randomize), track_meta=False).log()
        largest = float(exponent.abs().max())
        return image * (exponent * min(1.0, self.limit / largest)).exp() if largest else image


class RandRescale(RandomizableTransform):
    """Stretch the intensities between two percentiles to a random range, and clip what lies outside.

    A constant image becomes the lower end of the range.

    Args:
        prob: probability of rescaling an image.
        lower: range of the lower end.
        upper: range of the upper end.
        percentiles: percentiles of the image that become the two ends.

    Example:
        >>> rescale = RandRescale(lower=(0.2, 0.2), upper=(0.7, 0.7), percentiles=(0, 100))
        >>> rescale(torch.tensor([[-4.0, 0.0, 4.0]]))
        tensor([[0.2000, 0.4500, 0.7000]])
    """

    def __init__(
        self,
        prob: float = 1.0,
        lower: Sequence[float] = (0.0, 0.3),
        upper: Sequence[float] = (0.7, 1.0),
        percentiles: Sequence[float] = (1.0, 99.0),
    ) -> None:
        super().__init__(prob)
        self.lower = lower
        self.upper = upper
        self.percentiles = percentiles
        self.ends = (0.0, 1.0)

    def randomize(self, data: Any = None) -> None:
        """Draw the range."""
        super().randomize(data)
        if self._do_transform:
            self.ends = (self.R.uniform(*self.lower), self.R.uniform(*self.upper))

    def __call__(self, img: Tensor, randomize: bool = True) -> Tensor:
        """Return the image, rescaled or as it is.

        Args:
            img: shape ``(C, *spatial)``.
            randomize: False repeats the last draw.
        """
        if randomize:
            self.randomize()
        image = convert_to_tensor(img, dtype=torch.float32, track_meta=False)
        if not self._do_transform:
            return image
        bottom, top = (float(p) for p in np.percentile(image.numpy(), self.percentiles))
        low, high = self.ends
        return ((image - bottom) / (top - bottom or 1.0)).clamp_(0, 1) * (high - low) + low
