"""The measures of all structures of a labelled scan, read from its files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from medssl.advice.measures import StructureMeasures, measure_structure
from medssl.scans.channel_voxels import whole_channels
from medssl.scans.channels import ImagePath, image_files
from medssl.scans.colours import Colour
from medssl.scans.contents import image_problems, label_problems
from medssl.scans.geometry import Problem, pair_problems
from medssl.scans.headers import VolumeHeader
from medssl.scans.integrity import WholeVolume, read_whole
from medssl.scans.labels import read_label
from medssl.scans.structure_labels import whole_structures
from medssl.scans.structures import structure_path


class CaseMeasures(NamedTuple):
    """What a labelled scan shows.

    Attributes:
        structures: measures by name, of the structures that it shows.
        spacing: mm along right, anterior and superior; of a picture, 1 along x and y.
        extent: mm along the same axes.
    """

    structures: dict[str, StructureMeasures]
    spacing: tuple[float, ...]
    extent: tuple[float, ...]


def measure_case(
    image: ImagePath | Sequence[ImagePath],
    label: str | Path,
    labels: Mapping[int, str],
    spatial_dims: int = 3,
    modality: str = "MR",
    colours: Mapping[int, Colour | str] | None = None,
) -> CaseMeasures:
    """Read a scan and its label, and measure every structure. Of several channels, the first is read.

    Args:
        image: file, folder of a DICOM series, or one file for each channel.
        label: its label map, a picture, a DICOM SEG or an RTSTRUCT.
        labels: name of every label value, including 0 = background.
        spatial_dims: 2 or 3.
        modality: CT, MR or image; decides which values are plausible.
        colours: of the label values, where masks are colour pictures.

    Raises:
        ValueError: if a file is damaged, or they do not belong together; names the file.
    """
    file = image_files(image)[0]
    _, scan = next(whole_channels(image, spatial_dims))
    _require(file, scan.problems)
    _require(file, image_problems(scan.voxels, modality))
    mask = _read_mask(label, file, labels, spatial_dims, colours)
    _require(label, mask.problems)
    if structure_path(label) is None:
        _require(label, pair_problems(scan.header, mask.header))
    _require(label, label_problems(mask.voxels, labels))
    order = _order(scan.header, spatial_dims)
    spacing = tuple(float(scan.header.spacing[axis]) for axis in order)
    voxels = _in_order(_grey(scan.voxels, spatial_dims), order, spatial_dims)
    values = np.rint(_in_order(mask.voxels, order, spatial_dims)).astype(np.int32)
    measured = {
        name: measure_structure(values == value, voxels, spacing) for value, name in labels.items() if value != 0
    }
    extent = tuple(size * length for size, length in zip(voxels.shape, spacing, strict=True))
    return CaseMeasures({name: found for name, found in measured.items() if found is not None}, spacing, extent)


def _read_mask(
    label: str | Path, scan: str, labels: Mapping[int, str], dims: int, colours: Mapping[int, Colour | str] | None
) -> WholeVolume:
    if structure_path(label) is not None:
        return whole_structures(label, scan, labels, dims)
    return read_whole(label, dims, lambda path: read_label(path, colours, dims))


def _require(file: str | Path, problems: Sequence[Problem]) -> None:
    for problem in problems:
        if problem.severity == "error":
            text = problem.text.removeprefix(f"{file} ").removeprefix("cannot be used: ")
            raise ValueError(f"{file} cannot be used: {text}")


def _order(header: VolumeHeader, spatial_dims: int) -> list[int]:
    """Return the stored axes along right, anterior and superior; those of a 2D image stay."""
    if spatial_dims == 2:
        return [0, 1]
    return np.argsort(nib.io_orientation(header.affine)[:, 0]).tolist()


def _in_order(voxels: np.ndarray, order: Sequence[int], spatial_dims: int) -> np.ndarray:
    return voxels.reshape(voxels.shape[:spatial_dims]).transpose(order)


def _grey(voxels: np.ndarray, spatial_dims: int) -> np.ndarray:
    is_colour = voxels.ndim > spatial_dims and voxels.shape[spatial_dims] > 1
    return voxels.mean(axis=spatial_dims) if is_colour else voxels
