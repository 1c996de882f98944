"""Scans of several files, one for each channel, such as the sequences of an MR examination, on one grid."""

import os
from collections.abc import Sequence

import nibabel as nib

from medssl.scans.geometry import Problem, pair_problems
from medssl.scans.headers import VolumeHeader
from medssl.scans.integrity import has_error

ImagePath = str | os.PathLike[str]


def image_files(image: ImagePath | Sequence[ImagePath]) -> list[str]:
    """Return the files of a scan, one for each channel.

    Example:
        >>> image_files("a.nii.gz"), image_files(["a_T1.nii.gz", "a_T2.nii.gz"])
        (['a.nii.gz'], ['a_T1.nii.gz', 'a_T2.nii.gz'])
    """
    return [str(image)] if isinstance(image, str | os.PathLike) else [str(file) for file in image]


def grid_problems(first: VolumeHeader, other: VolumeHeader) -> list[Problem]:
    """List a problem if two channels of a scan do not lie on one grid; names both files.

    Args:
        first: header of the first channel, free of errors.
        other: header of another one, free of errors.
    """
    grids = [(header.grid, [float(f"{length:.4g}") for length in header.spacing]) for header in (first, other)]
    turns = [nib.io_orientation(header.affine).tolist() for header in (first, other)]
    if first.grid == other.grid and turns[0] == turns[1] and not has_error(pair_problems(first, other)):
        return []
    (size, spacing), (other_size, other_spacing) = grids
    where = "at another place " if grids[0] == grids[1] else ""
    where = where if turns[0] == turns[1] else "stored in another order or direction of axes "
    return [
        Problem(
            "error",
            f"it has {other_size} voxels of {other_spacing} mm {where}where {first.path}, another channel of the scan, "
            f"has {size} of {spacing} mm; resample it onto that grid.",
        )
    ]
