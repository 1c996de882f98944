"""Readers for MONAI's loader: NRRD, MetaImage and DICOM by SimpleITK, pictures by Pillow.

They are apart from what they read with (`medssl.scans.readers`, `medssl.scans.pictures`), so that commands that only
check files need not wait for MONAI to be imported.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from monai.data import ImageReader, PILReader
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from medssl.scans.pictures import PICTURE_AFFINE, Kind, is_picture, read_picture
from medssl.scans.readers import ITK_ENDINGS, is_series, itk_affine, itk_array, read_itk


class SimpleITKReader(ImageReader):
    """Read arrays with axes x, y, z and affines to RAS mm like MONAI's ``ITKReader``, without the package itk.

    It reads NRRD, MetaImage and DICOM: a folder is one series, and a file stands for its series. Free text of a header,
    which may contain the name of a patient, is dropped.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = str(Path(folder) / "scan.nrrd")
        ...     sitk.WriteImage(sitk.Image(5, 4, 3, sitk.sitkInt16), file)
        ...     reader = SimpleITKReader()
        ...     array, meta = reader.get_data(reader.read(file))
        >>> array.shape, np.diag(meta["affine"]).tolist()
        ((5, 4, 3), [-1.0, -1.0, 1.0, 1.0])
    """

    def verify_suffix(self, filename: Sequence[str | os.PathLike[str]] | str | os.PathLike[str]) -> bool:
        """Tell whether every path is a folder or has an ending that this reader takes.

        Args:
            filename: one path or several.
        """
        paths = [Path(name) for name in ensure_tuple(filename)]
        return all(path.name.lower().endswith(ITK_ENDINGS) or is_series(path) for path in paths)

    def read(self, data: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], **kwargs: Any) -> sitk.Image:
        """Read the image at a path.

        Args:
            data: one path.
            kwargs: unused; part of MONAI's interface.

        Raises:
            ValueError: if there are several paths, or the image cannot be read.
        """
        paths = ensure_tuple(data)
        if len(paths) != 1:
            raise ValueError(f"{len(paths)} files are given as one scan: {paths}; give one file or one DICOM folder.")
        return read_itk(Path(paths[0]))

    def get_data(self, img: sitk.Image) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the voxels, shape ``(x, y, z)`` or ``(x, y, z, components)``, and their geometry.

        Args:
            img: image returned by `read`.
        """
        array = itk_array(img)
        affine = itk_affine(img)
        has_channels = img.GetNumberOfComponentsPerPixel() > 1
        meta = {
            MetaKeys.AFFINE: affine.copy(),
            MetaKeys.ORIGINAL_AFFINE: affine,
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.asarray(img.GetSize()),
            MetaKeys.ORIGINAL_CHANNEL_DIM: -1 if has_channels else float("nan"),
        }
        return array, meta


class PictureReader(PILReader):
    """Hand the pixels that `read_picture` reads to MONAI's loader.

    Args:
        kind: see `read_picture`.
    """

    def __init__(self, kind: Kind = "image") -> None:
        super().__init__()
        self.kind = kind

    def verify_suffix(self, filename: Sequence[str | os.PathLike[str]] | str | os.PathLike[str]) -> bool:
        """Tell whether every path has the ending of a picture."""
        return all(is_picture(path) for path in ensure_tuple(filename))

    def read(self, data: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], **kwargs: Any) -> np.ndarray:
        """Read the pixels of one file."""
        (path,) = ensure_tuple(data)
        return read_picture(path, self.kind)

    def get_data(self, img: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the pixels, and metadata with their channel axis and the position that ITK gives a picture."""
        meta = {
            MetaKeys.AFFINE: PICTURE_AFFINE.copy(),
            MetaKeys.ORIGINAL_AFFINE: PICTURE_AFFINE.copy(),
            MetaKeys.SPATIAL_SHAPE: np.asarray(img.shape[:2]),
            MetaKeys.ORIGINAL_CHANNEL_DIM: -1 if img.ndim == 3 else float("nan"),
        }
        return img, meta
