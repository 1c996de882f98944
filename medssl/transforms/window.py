"""Scale stored values to the range 0..1 that networks see."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform


class IntensityWindowd(MapTransform):
    """Stretch a window of the values to [0, 1] and clip what lies outside, as float32.

    The values of MONAI's ``ScaleIntensityRanged`` with ``clip``, with memory for one new volume instead of five.

    Args:
        keys: keys of the images; the input is not changed.
        window: lower and upper end, such as -1350 and 1000 HU (Kats et al., 2024, section 3.1).

    Raises:
        ValueError: if the window is empty.

    Example:
        >>> IntensityWindowd("image", window=(-1000, 1000))({"image": torch.tensor([[-2000.0, 0.0, 500.0]])})["image"]
        tensor([[0.0000, 0.5000, 0.7500]])
    """

    def __init__(self, keys: KeysCollection, window: Sequence[float], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.low, self.high = map(float, window)
        if not self.low < self.high:
            raise ValueError(f"The window {tuple(window)} is empty; give its lower end first.")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the sample with windowed images."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            above = (sample[key] - self.low).to(torch.float32)
            sample[key] = above.div_(self.high - self.low).clamp_(0, 1)
        return sample
