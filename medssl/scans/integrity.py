"""Whether a file holds an undamaged volume with sound geometry."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medssl.scans.geometry import Problem, header_problems
from medssl.scans.headers import VolumeHeader, read_header
from medssl.scans.readers import is_nifti, read_volume, scaled_nifti
from medssl.scans.streams import require_whole, whole_nifti


@dataclass(frozen=True, eq=False)
class WholeVolume:
    """What could be read of a file, and its problems."""

    problems: list[Problem]
    header: VolumeHeader | None = None
    voxels: np.ndarray | None = None


def verified_header(
    path: str | os.PathLike[str], spatial_dims: int | None = 3, channels: int | None = 1
) -> VolumeHeader:
    """Read the header of a volume, and require an undamaged file and a geometry without errors.

    Args:
        path: NIfTI, NRRD or MetaImage file, or folder of a DICOM series; in 2D also a picture.
        spatial_dims: required number of spatial axes, 2 or 3; ``None``: either.
        channels: required number of volumes in a 3D file; ``None``: any.

    Raises:
        ValueError: if the file is damaged, its voxels are not single numbers, or its geometry has an error; the message
            names the file.
    """
    require_whole(path)
    return sound_header(path, spatial_dims, channels)


def sound_header(path: str | os.PathLike[str], spatial_dims: int | None = 3, channels: int | None = 1) -> VolumeHeader:
    """Read the header of a volume and require a geometry without errors; the voxels are not verified.

    Args:
        path: NIfTI, NRRD or MetaImage file, or folder of a DICOM series; in 2D also a picture.
        spatial_dims: required number of spatial axes, 2 or 3; ``None``: either.
        channels: required number of volumes in a 3D file; ``None``: any.

    Raises:
        ValueError: if its voxels are not single numbers or its geometry has an error; the message names the file.
    """
    header = read_header(path)
    for problem in header_problems(header, spatial_dims, channels):
        if problem.severity == "error":
            raise ValueError(f"{path} cannot be used: {problem.text}")
    return header


def read_whole(
    path: str | os.PathLike[str],
    spatial_dims: int = 3,
    read: Callable[[str | os.PathLike[str]], np.ndarray] = read_volume,
    channels: int = 1,
) -> WholeVolume:
    """Read a volume to its end, or list the problems that prevent it.

    Args:
        path: NIfTI, NRRD or MetaImage file, or folder of a DICOM series; in 2D also a picture.
        spatial_dims: required number of spatial axes, 2 or 3.
        read: reads the voxels of a file that is not NIfTI.
        channels: required number of volumes in a 3D file; the voxels of several have them as their last axis.
    """
    stored = None
    try:
        # A compressed NIfTI file is inflated only once, for both its checksum and its voxels.
        if is_nifti(path):
            stored = whole_nifti(path)
        else:
            require_whole(path)
        header = read_header(path)
    except ValueError as error:
        return WholeVolume([Problem("error", str(error))])
    problems = header_problems(header, spatial_dims, channels)
    if has_error(problems):
        return WholeVolume(problems, header)
    try:
        voxels = read(path) if stored is None else scaled_nifti(path, stored)
    except ValueError as error:
        return WholeVolume([*problems, Problem("error", str(error))], header)
    return WholeVolume(problems, header, voxels.reshape(*voxels.shape[:3], *([channels] if channels > 1 else [])))


def without_path(error: object, path: str | os.PathLike[str]) -> str:
    """Return a message that begins with a path without it, for reports that name the file already.

    Example:
        >>> without_path("a.nii.gz has no voxel.", "a.nii.gz"), without_path("a.nii.gz: its header is bad.", "a.nii.gz")
        ('it has no voxel.', 'its header is bad.')
    """
    text = str(error)
    if text.startswith(f"{path}: "):
        return text.removeprefix(f"{path}: ")
    text = text.removeprefix(f"{path} cannot be used: ")
    return f"it {text.removeprefix(f'{path} ')}" if text.startswith(f"{path} ") else text


def has_error(problems: Sequence[Problem]) -> bool:
    """Tell whether any problem is an error."""
    return any(problem.severity == "error" for problem in problems)
