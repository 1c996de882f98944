"""Problems with the geometry of a volume, and of a label compared with its image."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Literal, NamedTuple

import nibabel as nib
import numpy as np

from medssl.scans.headers import VolumeHeader
from medssl.scans.orientation import ras_orientation

SMALLEST_SPACING, LARGEST_SPACING = 0.05, 20.0
TOLERANCE_MM = 0.1
# Part of a voxel by which shear may move one: less than labels are drawn to, and float32 headers leave far less.
LARGEST_SHEAR = 0.1
# Part of a voxel by which a label's corners may lie apart and the label still mean the grid of its image.
SAME_GRID = 0.25


class Problem(NamedTuple):
    """One problem of a file.

    Attributes:
        severity: an error must be fixed; a warning may be harmless.
        text: one sentence that says what is wrong and what to do.
    """

    severity: Literal["error", "warning"]
    text: str


def header_problems(header: VolumeHeader, spatial_dims: int | None = 3, channels: int | None = 1) -> list[Problem]:
    """List the problems of the header of a volume or 2D image, without those that only follow from others.

    Args:
        header: header of the volume or image.
        spatial_dims: number of spatial axes it should have, 2 or 3; ``None``: either.
        channels: volumes that a 3D file should hold; ``None``: any number.
    """
    dims = spatial_dims or max(header.spatial_dims, 2)
    return _kind_problems(header, dims, channels) or _affine_errors(header) or _affine_warnings(header)


def pair_problems(image: VolumeHeader, label: VolumeHeader) -> list[Problem]:
    """List how the grid of a label differs from that of its image.

    Both are turned to RAS first, as they are when loaded: a label that is stored in another order of axes at the same
    place is not an error.

    Args:
        image: header of the image, free of errors.
        label: header of the label, free of errors.
    """
    (image_shape, image_affine), (label_shape, label_affine) = (_turned_to_ras(header) for header in (image, label))
    if image_shape != label_shape:
        text = f"its label is {_sizes(label_shape)} but the image is {_sizes(image_shape)} (axes turned to RAS)"
        return [Problem("error", f"{text}; resample the label onto the grid of the image.")]
    distance = corner_distance((*image_shape, 1)[:3], image_affine, label_affine)
    text = f"the corners of the label lie up to {distance:.2f} mm from those of the image"
    if distance > SAME_GRID * image.spacing.min():
        return [Problem("error", f"{text}; resample the label onto the image, or correct its header.")]
    if distance > TOLERANCE_MM * min(1.0, image.spacing.min()):
        return [Problem("warning", f"{text}, as if the spacing had been rounded; the grid of the image is used.")]
    codes = ["".join(nib.aff2axcodes(header.affine)[: header.spatial_dims]) for header in (image, label)]
    if codes[0] != codes[1] and image.is_nifti and label.is_nifti:
        text = f"the label is stored as {codes[1]} but the image as {codes[0]}"
        return [Problem("warning", f"{text}, at the same place; check one overlay for a left-right swap.")]
    return []


def patch_problems(
    header: VolumeHeader, patch_size: Sequence[int], spacing: Sequence[float] | None = None
) -> list[Problem]:
    """Say by how much a volume must be padded to hold one patch, if at all.

    Args:
        header: header of the volume, free of errors.
        patch_size: voxels of a patch along each axis, in RAS.
        spacing: mm to which volumes are resampled before patches are cut; ``None``: no resampling.
    """
    shape, affine = _turned_to_ras(header)
    size = np.array(shape)
    if len(patch_size) != len(size):
        text = f"it has {len(size)} axes, but the patch of {_sizes(patch_size)} has {len(patch_size)}"
        return [Problem("error", f"{text}; choose a data recipe with {len(size)} axes.")]
    if spacing is not None:
        lengths = np.linalg.norm(affine[:3, :3], axis=0)[: len(size)]
        size = np.maximum(1, np.rint(size * lengths / spacing).astype(int))
    missing = np.maximum(0, np.array(patch_size) - size)
    if not missing.any():
        return []
    image, cells = ("volume", "voxels") if len(size) == 3 else ("image", "pixels")
    text = f"the {image} of {_sizes(size)} {cells} is smaller than the patch of {_sizes(patch_size)}"
    return [Problem("warning", f"{text}: it will be padded by {_sizes(missing)} {cells}; a smaller patch avoids that.")]


def corner_distance(shape: Sequence[int], first: np.ndarray, second: np.ndarray) -> float:
    """Largest distance in mm between the corners of one grid under two affines.

    Args:
        shape: voxels along the three axes of the grid.
        first: affine of shape ``(4, 4)``.
        second: affine of shape ``(4, 4)``.

    Example:
        >>> moved = np.eye(4)
        >>> moved[0, 3] = 3.0
        >>> corner_distance((5, 5, 5), np.eye(4), moved)
        3.0
    """
    corners = np.array([(*corner, 1) for corner in product(*((0, size - 1) for size in shape))])
    return float(np.linalg.norm((corners @ (first - second).T)[:, :3], axis=1).max())


def sheared_by(header: VolumeHeader) -> float:
    """Return how far in mm the axes of a volume, if they are not at right angles, take a voxel from a straight grid.

    The straight grid has the same spacing and centre, and the directions nearest to those of the axes (their orthogonal
    polar factor).

    Args:
        header: with a finite affine that is not singular.
    """
    dims = header.spatial_dims
    axes = header.affine[:3, :dims]
    left, _, right = np.linalg.svd(axes / header.spacing, full_matrices=False)
    turned = axes - (left @ right) * header.spacing
    ends = np.array(list(product(*((-(size - 1) / 2, (size - 1) / 2) for size in header.grid[:dims]))))
    return float(np.linalg.norm(ends @ turned.T, axis=1).max())


def _kind_problems(header: VolumeHeader, spatial_dims: int, channels: int | None) -> list[Problem]:
    shape, is_vector = header.shape, header.components > 1 and (channels == 1 or header.is_nifti or spatial_dims == 2)
    if is_vector and not (spatial_dims == 2 and header.components == 3):
        return [
            _error(
                f"it has {header.components} numbers in a voxel (colour, vectors or overlapping segments); give one map"
            )
        ]
    if header.is_complex:
        return [_error("its voxels are complex numbers; save the magnitude")]
    if min(shape) < 1:
        return [_error(f"its header says {_sizes(shape)} voxels; save it again")]
    if len(shape) < spatial_dims:
        return [
            _error(f"it has {len(shape)} axes, but a volume has 3; give the volume, not a slice, or a 2D data recipe")
        ]
    if spatial_dims == 2 and len(shape) > 2:
        return [_error(f"it has {len(shape)} axes, but an image has 2; cut it with `medssl slices`")]
    return _channel_problems(header, channels) if spatial_dims == 3 else []


def _channel_problems(header: VolumeHeader, channels: int | None) -> list[Problem]:
    is_one_axis = math.prod(header.shape[3:]) == max(header.shape[3:], default=1)
    if is_one_axis and channels in (None, header.channels):
        return []
    if channels in (None, 1) or not is_one_axis:
        text = f"it holds several volumes ({_sizes(header.shape)})"
        channels_or = "if they are channels such as MR sequences, name them in 'channels' of a data list"
        return [_error(f"{text}; {channels_or}; split a time series, and list each volume as a case")]
    held = f"{header.channels} channels" if header.channels > 1 else "one channel"
    text = f"it holds {held} where {channels} are wanted"
    return [_error(f"{text}; give one file with {channels}, or one file for each in the right order")]


def _affine_errors(header: VolumeHeader) -> list[Problem]:
    if not np.isfinite(header.affine).all():
        return [_error("its affine contains NaN or Inf; restore it from the original scan")]
    if header.qform is None and _leaves_sform(header):
        text = "its pixdim contradicts its sform, and readers would use the qform, which is not set"
        return [_error(f"{text}; set pixdim to the spacing of the sform")]
    spacing, dims = header.spacing, header.spatial_dims
    if abs(np.linalg.det(header.affine[:dims, :dims])) <= 1e-6 * np.prod(spacing):
        return [_error(f"its affine is singular (spacing {_millimetres(spacing)}); restore it from the original scan")]
    if spacing.min() < SMALLEST_SPACING:
        return [_error(f"its spacing is {_millimetres(spacing)}: metres? Convert it to millimetres")]
    if spacing.max() > LARGEST_SPACING:
        return [_error(f"its spacing of {_millimetres(spacing)} exceeds {LARGEST_SPACING} mm; set it from the scan")]
    return []


def _affine_warnings(header: VolumeHeader) -> list[Problem]:
    return [*_form_warnings(header), *_grid_warnings(header), *_scaling_warnings(header)]


def _form_warnings(header: VolumeHeader) -> list[Problem]:
    if not header.is_nifti:
        return []
    if header.sform is None and header.qform is None:
        return [_warning("it has neither sform nor qform, so its place and orientation are a guess; set them")]
    if header.sform is None or header.qform is None:
        return []
    distance = corner_distance(header.grid, header.sform, header.qform)
    if not np.isfinite(distance):
        return [_warning("its qform is not a rotation, and other programs use it; set it from the sform")]
    if distance <= TOLERANCE_MM:
        return []
    used, other = ("qform", "sform") if _leaves_sform(header) else ("sform", "qform")
    text = f"its sform and qform lie {distance:.2f} mm apart; the {used} is used here, other programs use the {other}"
    return [_warning(f"{text}; keep only the right one")]


def _leaves_sform(header: VolumeHeader) -> bool:
    """Tell whether MONAI ignores the sform, as it does when the spacing of the header contradicts it."""
    stored = header.sform
    return stored is not None and corner_distance(header.grid, stored, header.affine) > TOLERANCE_MM


def _grid_warnings(header: VolumeHeader) -> list[Problem]:
    problems = []
    moved, smallest = sheared_by(header), header.spacing.min()
    if moved > LARGEST_SHEAR * smallest:
        text = f"its axes are sheared, not at right angles: voxels lie up to {moved:.2f} mm from a straight grid"
        used = (
            "it is used as the header says, and many programs ignore that; check it, or resample it to a straight grid"
        )
        problems.append(_warning(f"{text} ({moved / smallest:.1f} times the shortest edge of a voxel); {used}"))
    problems += [_warning(note) for note in header.notes]
    if min(header.shape[:3]) == 1:
        problems.append(_warning("it is a single slice, which teaches a network nothing about depth"))
    if header.spacing.max() > 10 * header.spacing.min():
        problems.append(
            _warning(
                f"its voxels are over 10 times as long as wide ({_millimetres(header.spacing)}); choose a new spacing"
            )
        )
    return problems


def _scaling_warnings(header: VolumeHeader) -> list[Problem]:
    slope, intercept = header.scaling
    # By the standard a slope of 0 means "not scaled"; nibabel writes NaN.
    if slope == 0 or np.isnan(slope):
        unused = intercept not in (0.0, 1.0) and np.isfinite(intercept)
        text = f"its intercept {intercept:g} is ignored, since its slope is {slope:g}; set the slope to 1 to apply it"
        return [_warning(text)] if unused else []
    if abs(slope) > 1e6 or not np.isfinite(intercept):
        return [_warning(f"its slope {slope:g} and intercept {intercept:g} are implausible; check the values")]
    return []


def _turned_to_ras(header: VolumeHeader) -> tuple[tuple[int, ...], np.ndarray]:
    turn = ras_orientation(header.affine)
    affine = header.affine @ nib.orientations.inv_ornt_aff(turn, header.grid)
    order = np.argsort(turn[:, 0])
    return tuple(header.grid[axis] for axis in order)[: header.spatial_dims], affine


def _error(text: str) -> Problem:
    return Problem("error", f"{text}.")


def _warning(text: str) -> Problem:
    return Problem("warning", f"{text}.")


def _sizes(sizes: Sequence[int]) -> str:
    return " x ".join(str(int(size)) for size in sizes)


def _millimetres(spacing: np.ndarray) -> str:
    return f"{' x '.join(f'{length:.4g}' for length in spacing)} mm"
