"""What is wrong with the voxels of a volume or of a label."""

import hashlib
from collections.abc import Mapping

import numpy as np

from medssl.scans.geometry import Problem

# Below it all is air: the crop to the body (Kats et al., 2024, section 3.1) would leave nothing.
CT_BODY_HU = -500.0
# Scanners pad with values down to -3024; above int16 there is no HU.
CT_RANGE = (-4096.0, 32767.0)
_LISTED = 5


def image_problems(voxels: np.ndarray, modality: str) -> list[Problem]:
    """Return what is wrong with the voxels of an image.

    Args:
        voxels: scaled as the header says; HU for CT.
        modality: decides what an empty image is.

    Example:
        >>> image_problems(np.zeros((4, 4, 4)), "MR")[0].text
        'all its voxels are 0; take the case out or export it again.'
    """
    if bad := _not_finite(voxels):
        return [Problem("error", f"{bad} of its voxels are NaN or Inf; replace them, or take the case out.")]
    low, high = float(voxels.min()), float(voxels.max())
    if low == high:
        return [Problem("error", f"all its voxels are {low:g}; take the case out or export it again.")]
    if max(-low, high) > float(np.finfo(np.float32).max):
        return [Problem("error", f"its values from {low:g} to {high:g} do not fit into float32; correct the scaling.")]
    return _hounsfield_problems(low, high) if modality == "CT" else []


def channel_problems(voxels: np.ndarray, in_channels: int | None, spatial_dims: int) -> list[Problem]:
    """Return whether an image has other channels than a network takes.

    One channel can be repeated, and three equal ones are one; colours are never mixed to grey.

    Args:
        voxels: shape ``(*spatial)`` or ``(*spatial, channels)``.
        in_channels: of the network; ``None``: not known.
        spatial_dims: axes in space.

    Example:
        >>> grey = np.ones((4, 4, 3))
        >>> channel_problems(grey, 1, 2), len(channel_problems(grey * [1, 2, 3], 1, 2))
        ([], 1)
    """
    channels = voxels.shape[spatial_dims] if voxels.ndim > spatial_dims and spatial_dims == 2 else 1
    if in_channels in (None, channels) or channels == 1 or (in_channels == 1 and is_grey(voxels)):
        return []
    text = f"it has {channels} channels of different values and in_channels is {in_channels}"
    return [Problem("error", f"{text}; set in_channels to {channels}, as in image_rgb_2d, or save it as grey.")]


def is_grey(pixels: np.ndarray) -> bool:
    """Tell whether all channels, the last axis, are the same.

    Example:
        >>> is_grey(np.full((2, 2, 3), 7)), is_grey(np.array([[[1, 2, 3]]]))
        (True, False)
    """
    return bool((pixels == pixels[..., :1]).all())


def label_problems(voxels: np.ndarray, names: Mapping[int, str]) -> list[Problem]:
    """Return what is wrong with the values of a label.

    Args:
        voxels: integers, up to 0.001.
        names: of the values that are declared, 0 = background among them.

    Example:
        >>> label_problems(np.array([0, 1, 7, 7]), {0: "background", 1: "liver"})[0].text
        'it holds values that the list does not declare: 7 (2 voxels); declare or remap them.'
    """
    if bad := _not_finite(voxels):
        return [Problem("error", f"{bad} of its voxels are NaN or Inf; export the label again.")]
    problems = [] if voxels.dtype.kind in "iub" else _fraction_problems(voxels)
    if any(problem.severity == "error" for problem in problems):
        return problems
    counts = label_counts(voxels)
    unknown = [f"{value} ({count} voxels)" for value, count in counts.items() if value not in names]
    if unknown:
        listed = ", ".join(unknown[:_LISTED]) + (f" and {len(unknown) - _LISTED} more" if unknown[_LISTED:] else "")
        text = f"it holds values that the list does not declare: {listed}; declare or remap them."
        problems.append(Problem("error", text))
    if not any(counts.keys() - {0}):
        text = "the label is empty; if the scan is not labelled, list it as unlabeled."
        problems.append(Problem("warning", text))
    return problems


def label_counts(voxels: np.ndarray) -> dict[int, int]:
    """Return how many voxels have each value, rounded to integers, lowest value first.

    Args:
        voxels: finite values.
    """
    values = voxels if voxels.dtype.kind in "iu" else np.rint(voxels).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if high - low > np.iinfo(np.uint16).max:
        found, counts = np.unique(values, return_counts=True)
        return {int(value): int(count) for value, count in zip(found, counts, strict=True)}
    # Much faster than to sort a whole volume.
    counts = np.bincount((values.astype(np.int64) - low).ravel(order="K"))
    return {low + int(offset): int(counts[offset]) for offset in np.flatnonzero(counts)}


def content_hash(voxels: np.ndarray) -> str:
    """Return the SHA-256 of shape and values: the same under another header, voxel type, compression or file format.

    Args:
        voxels: scaled as the header says, axes x, y, z.

    Example:
        >>> content_hash(np.ones((2, 3), np.int16)) == content_hash(np.ones((2, 3), np.float32))
        True
    """
    # + 0.0 makes -0.0 a 0.0.
    values = np.asarray(voxels, dtype="<f4", order="F") + np.float32(0.0)
    digest = hashlib.sha256(repr(values.shape).encode())
    digest.update(values.ravel(order="F").data)
    return digest.hexdigest()


def _fraction_problems(voxels: np.ndarray) -> list[Problem]:
    fractions = np.abs(voxels - np.rint(voxels))
    if count := int(np.count_nonzero(fractions > 1e-3)):
        return [Problem("error", f"{count} of its voxels are no integers; resample labels by nearest neighbour.")]
    if count := int(np.count_nonzero(fractions)):
        text = f"{count} of its voxels are only almost integers; round them, for many programs cut them off."
        return [Problem("warning", text)]
    return []


def _hounsfield_problems(low: float, high: float) -> list[Problem]:
    if high <= CT_BODY_HU:
        return [Problem("error", f"no voxel is above {CT_BODY_HU:g} HU, so there is no body; take the case out.")]
    problems = []
    if low < CT_RANGE[0] or high > CT_RANGE[1]:
        problems.append(
            Problem("warning", f"its values from {low:g} to {high:g} are no HU; check slope and intercept.")
        )
    if low >= 0:
        text = f"its lowest value is {low:g} where air has -1000 HU"
        problems.append(Problem("warning", f"{text}; check that the intercept was applied."))
    return problems


def _not_finite(voxels: np.ndarray) -> int:
    return 0 if voxels.dtype.kind in "iub" else int(voxels.size - np.count_nonzero(np.isfinite(voxels)))
