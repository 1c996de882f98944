"""Give each view of a case another of its contrasts."""

import re
from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Transform

_VIEW = re.compile(r"(?:view|clean)_(\d+)")


class OneContrastPerViewd(Transform):
    """The sample with one channel in each view: view *k* keeps the channel of contrast *k*, and so does clean view *k*.

    For images that show one anatomy in several contrasts, one a channel. With more views than contrasts, contrasts
    repeat in turn.

    Args:
        num_contrasts: channels of every view that goes in.

    Raises:
        ValueError: if a view has another number of channels.

    Example:
        >>> import torch
        >>> views = {f"view_{k}": torch.tensor([[0.1], [0.9]]) for k in (1, 2, 3)}
        >>> {key: view.tolist() for key, view in OneContrastPerViewd()(views).items()}
        {'view_1': [[0.10...]], 'view_2': [[0.89...]], 'view_3': [[0.10...]]}
    """

    def __init__(self, num_contrasts: int = 2) -> None:
        self.num_contrasts = num_contrasts

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the sample with views of one channel."""
        sample = dict(data)
        for key in data:
            named = _VIEW.fullmatch(str(key))
            if named is None:
                continue
            view = data[key]
            if view.shape[0] != self.num_contrasts:
                raise ValueError(f"{key} needs {self.num_contrasts} channels, one a contrast, but has {view.shape[0]}.")
            channel = (int(named[1]) - 1) % self.num_contrasts
            sample[key] = view[channel : channel + 1].clone()
        return sample
