"""Random contrast: every region of a label map gets its own brightness, texture and gradient."""

import numpy as np
import torch
from numpy.typing import NDArray

from medssl.phantom.fields import smooth_field
from medssl.phantom.label_maps import AIR

_NUM_LABELS = 256
_DARK_AIR = 0.8  # share of the contrasts in which the air is dark


def random_means(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the mean of every label, from 0 to 1.

    In half of the draws each label has a mean of its own; in the others labels belong to a few tissues, so that some
    regions look alike.
    """
    means = rng.uniform(0, 1, _NUM_LABELS)
    if rng.uniform() < 0.5:
        tissues = rng.uniform(0, 1, rng.integers(4, 13))
        means = rng.choice(tissues, _NUM_LABELS) + rng.normal(0, rng.uniform(0, 0.06), _NUM_LABELS)
    if rng.uniform() < _DARK_AIR:
        means[AIR] = -0.05
    return means.astype(np.float32)


def paint(
    rng: np.random.Generator, labels: NDArray[np.uint8], means: NDArray[np.float32], grain: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return an image of a label map, sharp and without the faults of a scanner.

    Every region has its mean, a share of a texture, which is a mixture of fine and coarse noise, and a share of a wide
    field, which shades it.

    Args:
        rng: source of the textures.
        labels: shape ``(X, Y, Z)``.
        means: of every label.
        grain: noise of unit variance in the shape of the labels, for the fine texture.
    """
    index = torch.from_numpy(labels).flatten().int()
    shape, strength = labels.shape, rng.uniform(0.2, 1.0)
    mix = rng.uniform(0, np.pi / 2)
    texture = np.float32(np.sin(mix)) * smooth_field(rng, shape, rng.uniform(1.5, 5))
    texture += np.float32(np.cos(mix)) * grain
    image = _looked_up(means, index, shape)
    for field, scale in ((texture, 0.07), (smooth_field(rng, shape, np.array(shape) / 3 + 2), 0.08)):
        shares = (rng.exponential(scale * strength, _NUM_LABELS) * rng.choice((-1, 1), _NUM_LABELS)).astype(np.float32)
        shares[AIR] = 0
        share = _looked_up(shares, index, shape)
        share *= field
        image += share
    return image


def _looked_up(table: NDArray[np.float32], index: torch.Tensor, shape: tuple[int, ...]) -> NDArray[np.float32]:
    # Several times faster than NumPy's take.
    return torch.from_numpy(table).index_select(0, index).numpy().reshape(shape)
