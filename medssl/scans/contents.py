"""Problems with the voxels of an image or a label."""

import hashlib
from collections.abc import Mapping

import numpy as np

from medssl.scans.geometry import Problem
from medssl.scans.orientation import turned_to_ras

# Anything below is air: the crop to the body (Kats et al., 2024, section 3.1) would leave nothing.
CT_BODY_HU = -500.0
# Scanners pad with values down to -3024; no HU exceeds int16.
CT_RANGE = (-4096.0, 32767.0)
# What scaling and rounding leave of a whole number; a label that was interpolated has values all over the way.
LABEL_TOLERANCE = 0.01
_LISTED = 5


def image_problems(voxels: np.ndarray, modality: str) -> list[Problem]:
    """List the problems of an image's voxels.

    Args:
        voxels: values scaled by the header; HU for CT.
        modality: decides which values are plausible.

    Example:
        >>> image_problems(np.zeros((4, 4, 4)), "MR")[0].text
        'all its voxels are 0; remove the case or export it again.'
    """
    low, high = _limits(voxels)
    if not np.isfinite((low, high)).all():
        bad = voxels.size - np.count_nonzero(np.isfinite(voxels))
        text = f"{bad} of its voxels are NaN, Inf or too large for float32; replace them, or remove the case."
        return [Problem("error", text)]
    if low == high:
        return [Problem("error", f"all its voxels are {low:g}; remove the case or export it again.")]
    if max(-low, high) > float(np.finfo(np.float32).max):
        return [Problem("error", f"its values from {low:g} to {high:g} do not fit in float32; correct the scaling.")]
    return _hounsfield_problems(low, high) if modality == "CT" else []


def channel_problems(voxels: np.ndarray, in_channels: int | None, spatial_dims: int) -> list[Problem]:
    """List a problem if an image does not have the channels that a network takes.

    One channel can be repeated, and three equal ones count as one; colours are never mixed to grey.

    Args:
        voxels: shape ``(*spatial)`` or ``(*spatial, channels)``.
        in_channels: channels of the network's input; ``None``: unknown.
        spatial_dims: number of spatial axes.

    Example:
        >>> grey = np.ones((4, 4, 3))
        >>> channel_problems(grey, 1, 2), len(channel_problems(grey * [1, 2, 3], 1, 2))
        ([], 1)
    """
    channels = voxels.shape[spatial_dims] if voxels.ndim > spatial_dims and spatial_dims == 2 else 1
    if in_channels in (None, channels) or channels == 1 or (in_channels == 1 and is_grey(voxels)):
        return []
    text = f"it has {channels} channels that differ, and in_channels is {in_channels}"
    return [Problem("error", f"{text}; set in_channels to {channels}, as in image_rgb_2d, or save it as grey.")]


def is_grey(pixels: np.ndarray) -> bool:
    """Tell whether all channels (the last axis) are equal.

    Example:
        >>> is_grey(np.full((2, 2, 3), 7)), is_grey(np.array([[[1, 2, 3]]]))
        (True, False)
    """
    return bool((pixels == pixels[..., :1]).all())


def label_problems(voxels: np.ndarray, names: Mapping[int, str]) -> list[Problem]:
    """List the problems of a label's voxels.

    Args:
        voxels: label values; deviations from integers of up to 0.01 are a warning.
        names: name of every declared value, including 0 = background.

    Example:
        >>> label_problems(np.array([0, 1, 7, 7]), {0: "background", 1: "liver"})[0].text
        'it contains values that the list does not declare: 7 (2 voxels); declare or remap them.'
    """
    problems = whole_number_problems(voxels)
    if any(problem.severity == "error" for problem in problems):
        return problems
    counts = label_counts(voxels)
    unknown = [f"{value} ({count} voxels)" for value, count in counts.items() if value not in names]
    if unknown:
        listed = ", ".join(unknown[:_LISTED]) + (f" and {len(unknown) - _LISTED} more" if unknown[_LISTED:] else "")
        text = f"it contains values that the list does not declare: {listed}; declare or remap them."
        problems.append(Problem("error", text))
    if not any(counts.keys() - {0}):
        text = "the label is empty; if the scan has not been labelled, list it in 'unlabeled'."
        problems.append(Problem("warning", text))
    return problems


def whole_number_problems(voxels: np.ndarray) -> list[Problem]:
    """List the problems of values that must be whole numbers.

    Args:
        voxels: label values; deviations from integers of up to 0.01 are a warning.

    Example:
        >>> whole_number_problems(np.array([0.0, 0.5]))[0].text
        '1 of its voxels are not integers; resample labels by nearest neighbour.'
    """
    if voxels.dtype.kind in "iub":
        return []
    rounded = np.rint(voxels)
    if np.array_equal(rounded, voxels) and np.isfinite((rounded.min(), rounded.max())).all():
        return []
    if bad := voxels.size - np.count_nonzero(np.isfinite(voxels)):
        return [Problem("error", f"{bad} of its voxels are NaN or Inf; export the label again.")]
    fractions = np.abs(voxels - rounded)
    if count := int(np.count_nonzero(fractions > LABEL_TOLERANCE)):
        return [Problem("error", f"{count} of its voxels are not integers; resample labels by nearest neighbour.")]
    count = int(np.count_nonzero(fractions))
    text = f"{count} of its voxels are almost but not exactly integers; round them, since many programs truncate."
    return [Problem("warning", text)]


def label_counts(voxels: np.ndarray) -> dict[int, int]:
    """Count the voxels of each value, rounded to integers, lowest value first.

    Args:
        voxels: finite values.
    """
    values = voxels if voxels.dtype.kind in "iu" else np.rint(voxels).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if high - low > np.iinfo(np.uint16).max:
        found, counts = np.unique(values, return_counts=True)
        return {int(value): int(count) for value, count in zip(found, counts, strict=True)}
    # Much faster than sorting a whole volume.
    counts = np.bincount((values.astype(np.int64) - low).ravel(order="K"))
    return {low + int(offset): int(counts[offset]) for offset in np.flatnonzero(counts)}


def content_hash(voxels: np.ndarray, affine: np.ndarray | None = None) -> str:
    """SHA-256 of shape and values, which does not depend on header, voxel type, compression or file format.

    With an affine it does not depend on the order and direction of the stored axes either: the DICOM series and the
    NIfTI file of a scan have one hash.

    Args:
        voxels: values scaled by the header, axes x, y, z.
        affine: voxel index to RAS mm, shape ``(4, 4)``; the volume is turned to RAS.

    Example:
        >>> voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
        >>> left = content_hash(voxels[::-1].astype(np.float32), np.diag([-1, 1, 1, 1]))
        >>> left == content_hash(voxels, np.eye(4)) != content_hash(voxels[::-1], np.eye(4))
        True
    """
    if affine is not None and voxels.ndim == 3:
        voxels = turned_to_ras(voxels, affine)
    # Adding 0.0 turns -0.0 into 0.0.
    values = np.asarray(voxels, dtype="<f4", order="F") + np.float32(0.0)
    digest = hashlib.sha256(repr(values.shape).encode())
    digest.update(values.ravel(order="F").data)
    return digest.hexdigest()


def orderless_key(voxels: np.ndarray) -> str:
    """Sizes and a sum of all values, the same in every order and direction of the stored axes; different scans differ.

    Scans with one `content_hash` have one key. Others may have one too, such as a scan and its mirror image.

    Args:
        voxels: values scaled by the header.

    Example:
        >>> voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
        >>> orderless_key(voxels) == orderless_key(voxels[::-1].T.astype(np.float32)) != orderless_key(voxels + 1)
        True
    """
    # As of a hash: float32, and no -0.0.
    values = np.array(voxels, dtype="<f4", order="K")
    values += np.float32(0.0)
    total = int(np.add.reduce(values.ravel(order="K").view("<u4"), dtype=np.uint64))
    return f"{sorted(voxels.shape)} {total}"


def _limits(voxels: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest value, NaN if there is one."""
    flat = voxels.ravel(order="K")
    return float(flat.min()), float(flat.max())


def _hounsfield_problems(low: float, high: float) -> list[Problem]:
    if high <= CT_BODY_HU:
        return [Problem("error", f"no voxel is above {CT_BODY_HU:g} HU, so there is no body; remove the case.")]
    problems = []
    if low < CT_RANGE[0] or high > CT_RANGE[1]:
        problems.append(
            Problem("warning", f"its values from {low:g} to {high:g} are not HU; check slope and intercept.")
        )
    if low >= 0:
        text = f"its lowest value is {low:g}, although air is -1000 HU"
        problems.append(Problem("warning", f"{text}; check that the intercept was applied."))
    return problems
