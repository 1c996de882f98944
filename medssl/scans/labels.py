"""Label maps of files, colour masks among them."""

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
    """Return the label map of a file, axes in the order of the file: x, y, z.

    Args:
        path: NIfTI, NRRD, MetaImage, PNG, TIFF or BMP file, or folder of a DICOM series.
        colours: of the label values, where masks are pictures of colours (see `medssl.scans.colours`); other files hold
            label values all the same.
        spatial_dims: axes in space, 2 or 3.

    Raises:
        ValueError: if the file cannot be read, holds colours and none are listed, or holds one that is not listed.
    """
    if colours is not None and is_picture(path):
        return colours_to_labels(read_volume(path, "colour mask"), colours, path)
    voxels = read_volume(path, "index mask")
    if spatial_dims == 2 and voxels.ndim == 3:
        cause = "stored as three equal channels" if is_grey(voxels) else "of colours"
        raise ValueError(f"{path} is a mask {cause}; say in label_colours which colour is which label.")
    return voxels
