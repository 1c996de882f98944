"""Read label maps, including colour masks."""

import os
from collections.abc import Mapping

import numpy as np

from medssl.scans.colours import Colour, colours_to_labels
from medssl.scans.contents import is_grey
from medssl.scans.pictures import is_picture
from medssl.scans.readers import read_volume


def read_label(
    path: str | os.PathLike[str], colours: Mapping[int, Colour | str] | None = None, spatial_dims: int = 3
) -> np.ndarray:
    """Read the label map of a file, axes in the order of the file: x, y, z.

    Args:
        path: NIfTI, NRRD, MetaImage, PNG, TIFF or BMP file, or folder of a DICOM series.
        colours: colour of each label value, for masks that are colour pictures (see `medssl.scans.colours`); files that
            are not pictures hold label values even so.
        spatial_dims: number of spatial axes, 2 or 3.

    Raises:
        ValueError: if the file cannot be read, holds colours although none are listed, or holds an unlisted colour.
    """
    if colours is not None and is_picture(path):
        return colours_to_labels(read_volume(path, "colour mask"), colours, path)
    voxels = read_volume(path, "index mask")
    if spatial_dims == 2 and voxels.ndim == 3:
        cause = "stored as three equal channels" if is_grey(voxels) else "in colours"
        raise ValueError(f"{path} is a mask {cause}; say in label_colours which colour is which label.")
    return voxels
