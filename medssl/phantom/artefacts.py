"""What a scanner does to an image: limited resolution, uneven coils, noise."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medssl.phantom.fields import along_axis, smooth_field


def degrade(rng: np.random.Generator, image: NDArray[np.float32], grain: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the image with random resolution, bias field and noise.

    Args:
        rng: source of all variation.
        image: shape ``(X, Y, Z)``.
        grain: noise of unit variance in the shape of the image.
    """
    thick = int(rng.integers(3)) if rng.uniform() < 0.5 else None
    base = rng.uniform(0.35, 0.9)
    for axis, size in enumerate(image.shape):
        if size > 1:
            slices = float(np.exp(rng.uniform(np.log(1.2), np.log(5)))) if axis == thick else 1.0
            image = along_axis(resolution(size, base * rng.uniform(0.8, 1.2), slices, rng.uniform()), image, axis)
    bias = np.float32(rng.uniform(0, 0.25)) * smooth_field(rng, image.shape, np.array(image.shape) / 1.5 + 2)
    image = image * np.exp(bias)
    image += np.float32(rng.uniform(0.005, 0.08)) * grain
    return image


def resolution(size: int, sigma: float, slices: float = 1.0, phase: float = 0.0) -> NDArray[np.float32]:
    """Return the matrix that blurs a line of voxels, reads it in thicker slices and interpolates it back.

    Rows add up to 1. Voxels at a border mix what lies on both sides of it: partial volume.

    Args:
        size: voxels of the line.
        sigma: deviation of the Gaussian blur in voxels.
        slices: thickness of a slice in voxels; above 1, the line is averaged over slices and interpolated linearly.
        phase: place of the first slice, 0 to 1.

    Example:
        >>> resolution(4, 0.5).sum(axis=1).round(5).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    voxels = np.arange(size)
    blur = np.exp(-0.5 * ((voxels[:, None] - voxels) / sigma) ** 2)
    if slices > 1:
        middles = (np.arange(int(np.ceil(size / slices)) + 1) - phase) * slices
        # The share of every voxel in a slice.
        ends = np.abs(voxels - middles[:, None])
        profile = np.clip(slices / 2 + 0.5 - ends, 1e-6, 1)
        back = np.clip(1 - np.abs(voxels[:, None] - middles) / slices, 0, None)
        blur = _rows_of_one(back) @ _rows_of_one(profile) @ _rows_of_one(blur)
    return _rows_of_one(blur).astype(np.float32)


def to_common_scale(
    image: NDArray[np.float32], body: NDArray[np.bool_], mean: float, deviation: float
) -> NDArray[np.float32]:
    """Return the image with the given mean and deviation of the body, cut off at 0 and 1.

    Args:
        image: any shape.
        body: mask of the same shape, not empty.
        mean: of the body.
        deviation: of the body, before values are cut off.
    """
    # A quarter of the voxels is enough.
    values = image[::2, ::2][body[::2, ::2]]
    if not values.size:
        values = image[body]
    scale = deviation / max(float(values.std()), 1e-3)
    image = (image - values.mean()) * np.float32(scale) + np.float32(mean)
    return np.clip(image, 0, 1, out=image)


def _rows_of_one(matrix: NDArray[np.floating]) -> NDArray[np.floating]:
    return matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-12)


def grain_like(rng: np.random.Generator, noise: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Return a part of a larger block of noise, from a random place and with a random sign.

    Drawing new noise for every voxel would take longer than everything else.
    """
    starts = [int(rng.integers(have - want + 1)) for have, want in zip(noise.shape, shape, strict=True)]
    part = noise[tuple(slice(a, a + n) for a, n in zip(starts, shape, strict=True))]
    return part if rng.uniform() < 0.5 else -part
