"""DICOM SEG and RTSTRUCT as label maps of MONAI."""

import logging
import os

import torch
from monai.data import MetaTensor
from monai.utils import MetaKeys, SpaceKeys

from medssl.scans.structure_labels import read_structures
from medssl.scans.structures import names_from_text

logger = logging.getLogger(__name__)


def load_structures(path: str | os.PathLike[str], scan: str | os.PathLike[str] | None, names: str | None) -> MetaTensor:
    """Load the label map of a DICOM SEG or RTSTRUCT file, integers of shape ``(1, x, y, z)`` on the grid of its scan.

    Args:
        path: the file, or a folder that holds nothing else.
        scan: what it belongs to.
        names: name of every label value, as text (`medssl.scans.structures.names_as_text`).

    Raises:
        ValueError: if the scan or the names are unknown, or the file cannot be used with them; names it.
    """
    if scan is None or names is None:
        raise ValueError(
            f"{path} is a DICOM segmentation, which needs its scan and the names of its labels; give both in a data "
            "list, or convert it to NIfTI."
        )
    read = read_structures(path, scan, names_from_text(names))
    for note in read.notes:
        logger.info("%s: %s.", path, note)
    affine = torch.as_tensor(read.header.affine, dtype=torch.float64)
    meta = {
        MetaKeys.ORIGINAL_AFFINE: affine.clone(),
        MetaKeys.SPACE: SpaceKeys.RAS,
        MetaKeys.SPATIAL_SHAPE: read.voxels.shape,
        MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
        "filename_or_obj": str(path),
    }
    # PyTorch computes little with unsigned numbers of two bytes.
    voxels = torch.from_numpy(read.voxels if read.voxels.dtype.itemsize == 1 else read.voxels.astype("int32"))
    return MetaTensor(voxels[None], affine=affine, meta=meta)
