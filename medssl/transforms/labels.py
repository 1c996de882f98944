"""From logits to label maps."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import MapTransform


class LogitsToLabeld(MapTransform):
    """Give integer label maps of shape ``(1, *spatial)`` for logits of shape ``(K, *spatial)``.

    The label of a voxel is the class (channel + 1) of the highest sigmoid probability if that exceeds 0.5, else 0,
    as uint8. Metadata stay.

    Example:
        >>> logits = torch.tensor([[[-1.0, 2.0]], [[-2.0, 3.0]]])
        >>> LogitsToLabeld("pred")({"pred": logits})["pred"].tolist()
        [[[0, 2]]]
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with label maps under the keys."""
        out = dict(data)
        for key in self.key_iterator(out):
            # sigmoid(x) > 0.5 exactly where x > 0
            highest, channel = out[key].max(dim=0, keepdim=True)
            out[key] = torch.where(highest > 0, channel + 1, 0).to(torch.uint8)
        return out
