"""Intensity augmentations of images scaled to [0, 1].

Random values are drawn for every key, so the two views of a pair are augmented differently. MONAI's intensity
transforms use one draw for all their keys, so list those once per view.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_tensor
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

_TABLE_SIZE = 4096
# Places along a Bezier curve; the weights there of its inner control points, and of its last one, (1, 1).
_T = np.linspace(0.0, 1.0, _TABLE_SIZE)
_INNER_WEIGHTS, _LAST_WEIGHT = np.stack([3 * (1 - _T) ** 2 * _T, 3 * (1 - _T) * _T**2]), _T**3


def bezier_table(controls: NDArray[np.floating], size: int = _TABLE_SIZE) -> NDArray[np.float32]:
    """Tabulate a cubic Bezier curve from (0, 0) to (1, 1) at evenly spaced abscissae.

    It never falls: with control points in the unit square, both coordinates of the curve grow with its parameter.

    Args:
        controls: the two inner control points, shape ``(2, 2)``, values in [0, 1].
        size: number of entries; the first is 0 and the last is 1.

    Example:
        >>> bezier_table(np.array([[0.0, 1.0], [0.0, 1.0]]), size=5).round(2)
        array([0.  , 0.95, 0.99, 1.  , 1.  ], dtype=float32)
    """
    x, y = controls.T @ _INNER_WEIGHTS + _LAST_WEIGHT
    return np.interp(np.linspace(0.0, 1.0, size), x, y).astype(np.float32)


class RandBezierIntensityd(RandomizableTransform, MapTransform):
    """Map the intensities through a random increasing curve that keeps 0 and 1.

    The cubic Bezier curve of `bezier_table`, whose inner control points are uniform in the unit square: the non-linear
    intensity augmentation of Kats et al. (2024, section 2.1). Values are rounded to one of 4,096 levels.

    Args:
        keys: keys of images with values in [0, 1]; values outside are clamped.
        prob: probability of mapping an image.

    Example:
        >>> bend = RandBezierIntensityd("view_1", prob=1).set_random_state(seed=0)
        >>> bend({"view_1": torch.tensor([[-1.0, 0.0, 0.25, 0.75, 1.0]])})["view_1"]
        tensor([[0.0000, 0.0000, 0.2094, 0.6824, 1.0000]])
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.9, allow_missing_keys: bool = False) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.table = bezier_table(np.zeros((2, 2)))

    def randomize(self, data: Any = None) -> None:
        """Draw whether to map an image, and the curve."""
        super().randomize(data)
        if self._do_transform:
            self.table = bezier_table(self.R.random_sample((2, 2)))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the sample with mapped images; the input is not changed."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            image = convert_to_tensor(sample[key], dtype=torch.float32, track_meta=False)
            self.randomize()
            sample[key] = self._map(image) if self._do_transform else image
        return sample

    def _map(self, image: Tensor) -> Tensor:
        levels = image.clamp(0, 1).mul_(len(self.table) - 1).round_().to(torch.int32)
        return torch.from_numpy(self.table).index_select(0, levels.flatten()).reshape(image.shape)


class RandIntensityWindowd(RandomizableTransform, MapTransform):
    """Stretch a random window of the intensities to [0, 1], and clip what lies outside.

    The random Hounsfield window of vox2vec (Goncharov et al., 2023): lower end in -1350..-1000 HU, upper end in
    300..1000 HU, here on images scaled from -1350..1000 HU to [0, 1]. Without a draw the window is [0, 1] itself.

    Args:
        keys: keys of images scaled to [0, 1].
        prob: probability of drawing a window.
        lower: range of the lower end.
        upper: range of the upper end.

    Example:
        >>> window = RandIntensityWindowd("view_1", prob=1, lower=(0.1, 0.1), upper=(0.7, 0.7)).set_random_state(seed=0)
        >>> window({"view_1": torch.tensor([[0.0, 0.1, 0.4, 0.9]])})["view_1"]
        tensor([[0.0000, 0.0000, 0.5000, 1.0000]])
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.8,
        lower: Sequence[float] = (0.0, 0.149),
        upper: Sequence[float] = (0.702, 1.0),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.lower = lower
        self.upper = upper
        self.window = (0.0, 1.0)

    def randomize(self, data: Any = None) -> None:
        """Draw the window."""
        super().randomize(data)
        self.window = (self.R.uniform(*self.lower), self.R.uniform(*self.upper)) if self._do_transform else (0.0, 1.0)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the sample with windowed images; the input is not changed."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            image = convert_to_tensor(sample[key], dtype=torch.float32, track_meta=False)
            self.randomize()
            low, high = self.window
            sample[key] = (image - low).div_(high - low).clamp_(0, 1)
        return sample


class RandBlurOrSharpend(RandomizableTransform, MapTransform):
    """Blur or sharpen each axial slice, with equal probability.

    Augmentation of vox2vec (Goncharov et al., 2023). Sharpening is ``b + alpha * (b - blur(b))`` with ``b`` the blurred
    image. MONAI's Gaussian filters pad with zeros, which sharpening would turn into a bright frame around every patch,
    and draw a width per axis; here the image is reflected, and both axes share one width.

    Args:
        keys: keys of images of shape ``(C, *spatial)``; the first two spatial axes are filtered.
        prob: probability of changing an image.
        blur_sigma: range of the width when blurring, in voxels.
        sharpen_sigma: range of the width of the blurred image when sharpening, in voxels.
        second_sigma: width of the second blur when sharpening, in voxels.
        alpha: range of the strength of sharpening.

    Example:
        >>> change = RandBlurOrSharpend("view_1", prob=1).set_random_state(seed=0)
        >>> change({"view_1": torch.ones(1, 6, 6, 4)})["view_1"].unique().round(decimals=5)
        tensor([1.])
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        blur_sigma: Sequence[float] = (0.25, 1.5),
        sharpen_sigma: Sequence[float] = (0.5, 1.0),
        second_sigma: float = 0.5,
        alpha: Sequence[float] = (10.0, 30.0),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.blur_sigma = blur_sigma
        self.sharpen_sigma = sharpen_sigma
        self.second_sigma = second_sigma
        self.alpha = alpha
        self.sigma = 0.0
        self.strength = 0.0

    def randomize(self, data: Any = None) -> None:
        """Draw whether to change an image, the width of the blur, and the strength of sharpening (0 for blurring)."""
        super().randomize(data)
        if not self._do_transform:
            return
        is_blur = self.R.rand() < 0.5
        self.sigma = self.R.uniform(*(self.blur_sigma if is_blur else self.sharpen_sigma))
        self.strength = 0.0 if is_blur else self.R.uniform(*self.alpha)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the sample with filtered images; the input is not changed."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            image = convert_to_tensor(sample[key], dtype=torch.float32, track_meta=False)
            self.randomize()
            sample[key] = self._filter(image) if self._do_transform else image
        return sample

    def _filter(self, image: Tensor) -> Tensor:
        blurred = gaussian_filter(image.numpy(), self.sigma, axes=(1, 2))
        if self.strength > 0:
            blurred += self.strength * (blurred - gaussian_filter(blurred, self.second_sigma, axes=(1, 2)))
        return torch.from_numpy(blurred)
