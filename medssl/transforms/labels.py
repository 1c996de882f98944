"""Turn logits into label maps."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import Invertd, InvertibleTransform, MapTransform
from monai.utils import ensure_tuple_rep

# Classes inverted at once: the more, the less often the sampling grid is computed, which is as large as six of them.
_AT_ONCE = 4


class LogitsToLabeld(MapTransform):
    """Turn logits of shape ``(K, *spatial)`` into label maps of shape ``(1, *spatial)``, uint8.

    The label of a voxel is the class (channel + 1) with the highest sigmoid probability if that exceeds 0.5, else 0.
    Metadata are kept.

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


class InvertToLabeld(MapTransform):
    """Turn logits of shape ``(K, *spatial)`` on the grid of the network into label maps on that of the original scan.

    The labels are those of MONAI's ``Invertd`` followed by `LogitsToLabeld`, but only a few classes at a time are
    inverted and compared with the best so far, so memory does not grow with K.

    Args:
        keys: keys of the logits.
        transform: the invertible preprocessing to invert.
        orig_keys: keys of the preprocessed scans, one or as many as `keys`.
    """

    def __init__(self, keys: KeysCollection, transform: InvertibleTransform, orig_keys: KeysCollection) -> None:
        super().__init__(keys)
        orig_keys = ensure_tuple_rep(orig_keys, len(self.keys))
        self.inverts = [
            Invertd(key, transform, orig_key, nearest_interp=False)
            for key, orig_key in zip(self.keys, orig_keys, strict=True)
        ]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with label maps of shape ``(1, *spatial)`` under the keys, as uint8."""
        out = dict(data)
        for key, invert in self.key_iterator(out, self.inverts):
            label = None
            for first in range(0, len(out[key]), _AT_ONCE):
                inverted = invert({**data, key: out[key][first : first + _AT_ONCE]})[key]
                logits = inverted.as_tensor()
                if label is None:
                    label, highest = torch.zeros_like(inverted[:1], dtype=torch.uint8), torch.zeros_like(logits[:1])
                for offset, logit in enumerate(logits):
                    label.masked_fill_(logit > highest, first + offset + 1)
                    torch.maximum(highest, logit, out=highest)
            out[key] = label
        return out
