"""Scans of several channels, such as the sequences of an MR examination: one file for each, or one 4D file for all."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib

from medssl.scans.geometry import Problem, pair_problems
from medssl.scans.headers import VolumeHeader
from medssl.scans.integrity import has_error

ImagePath = str | os.PathLike[str]
_REFERENCE = re.compile(r"(.+)#(\d{1,4})of(\d{1,4})", re.DOTALL)
_NUMBERED = re.compile(r"(.+)_(\d{4})")


class Channel(NamedTuple):
    """One channel of a scan.

    Attributes:
        file: that holds it.
        number: of the channel in its file, from 0.
        count: channels in the file.
    """

    file: str
    number: int = 0
    count: int = 1

    def __str__(self) -> str:
        """Return how a data list names it: the file, or ``FILE#NUMBERofCOUNT``."""
        return self.file if self.count == 1 else f"{self.file}#{self.number}of{self.count}"


def image_channels(image: ImagePath | Sequence[ImagePath]) -> list[Channel]:
    """Return the channels of a scan in their order.

    Args:
        image: file, or one channel of a file (``FILE#NUMBERofCOUNT``), or a list of either.

    Example:
        >>> image_channels(["brain.nii.gz#0of4", "brain.nii.gz#3of4"])[1]
        Channel(file='brain.nii.gz', number=3, count=4)
    """
    listed = [str(image)] if isinstance(image, str | os.PathLike) else list(map(str, image))
    matches = [(text, _REFERENCE.fullmatch(text)) for text in listed]
    return [Channel(match[1], int(match[2]), int(match[3])) if match else Channel(text) for text, match in matches]


def image_files(image: ImagePath | Sequence[ImagePath]) -> list[str]:
    """Return the files of a scan, each once.

    Example:
        >>> image_files("a.nii.gz"), image_files(["a_T1.nii.gz", "a_T2.nii.gz"])
        (['a.nii.gz'], ['a_T1.nii.gz', 'a_T2.nii.gz'])
    """
    return list(dict.fromkeys(channel.file for channel in image_channels(image)))


def listed_image(image: ImagePath | Sequence[ImagePath]) -> str | list[str]:
    """Return a scan as transforms and data lists take it: absolute text, or a list of it where there are several.

    Example:
        >>> listed_image(["/data/brain.nii.gz#0of2", "/data/brain.nii.gz#1of2"])
        ['/data/brain.nii.gz#0of2', '/data/brain.nii.gz#1of2']
    """
    listed = [str(channel._replace(file=os.path.abspath(channel.file))) for channel in image_channels(image)]
    return listed if len(listed) > 1 else listed[0]


def grid_file(image: ImagePath | Sequence[ImagePath]) -> Path:
    """Return the file or folder whose grid is that of a scan: that of its first channel."""
    return Path(image_files(image)[0])


def channels_of_file(file: ImagePath, count: int, numbers: Iterable[int] | None = None) -> list[str]:
    """Return how a data list names the channels of one file.

    Args:
        file: 4D NIfTI, or a NRRD or MetaImage with several components.
        count: channels in it.
        numbers: of those to take; None: all.

    Example:
        >>> channels_of_file("prostate.nii.gz", 2)
        ['prostate.nii.gz#0of2', 'prostate.nii.gz#1of2']
    """
    return [str(Channel(str(file), number, count)) for number in (range(count) if numbers is None else numbers)]


def numbered_channels(stems: Iterable[str], labels: Iterable[str]) -> dict[str, list[str]] | None:
    """Return the channels of every case where names are numbered as nnU-Net does; None where numbers mean cases.

    They are channels if every name ends with ``_0000``, ``_0001``, and so on, several cases start with ``_0000``, or a
    label has the name of the only one, and no label has a name with a number.

    Args:
        stems: names of all scans without their endings.
        labels: names of all labels without their endings.

    Returns:
        For every case the names of its channels, in their order; one that lacks a channel lacks it here too.

    Example:
        >>> numbered_channels(["anna_0000", "anna_0001", "bo_0000", "bo_0001"], ["anna"])
        {'anna': ['anna_0000', 'anna_0001'], 'bo': ['bo_0000', 'bo_0001']}
        >>> numbered_channels(["scan_0000", "scan_0001"], ["scan_0001"])
    """
    matches, labelled = [_NUMBERED.fullmatch(stem) for stem in sorted(stems)], set(labels)
    if not matches or None in matches or any(match[0] in labelled for match in matches):
        return None
    found: dict[str, list[str]] = {}
    for match in matches:
        found.setdefault(match[1], []).append(match[0])
    first = [case for case, channels in found.items() if channels[0] == f"{case}_0000"]
    return found if len(first) > 1 or labelled & set(first) else None


def missing_channel(case: str, channels: Sequence[str], cases: Mapping[str, Sequence[str]]) -> str:
    """Return the name of a channel that a case lacks and others have, or nothing.

    Args:
        case: id.
        channels: names that it has.
        cases: channels of all cases, from `numbered_channels`.
    """
    count = max(int(name[-4:]) for names in cases.values() for name in names) + 1
    wanted = (f"{case}_{number:04d}" for number in range(count))
    return next((name for name in wanted if name not in channels), "")


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
