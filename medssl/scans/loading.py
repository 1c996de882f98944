"""MONAI's ``LoadImaged`` for files that may be damaged, and DICOM, NRRD and MetaImage without the package itk."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import ImageReader
from monai.transforms import LoadImage, LoadImaged
from monai.utils import ensure_tuple
from torch import Tensor

from medssl.scans.integrity import verified_header
from medssl.scans.monai_readers import PictureReader, SimpleITKReader
from medssl.scans.nifti import LoadedNifti
from medssl.scans.pictures import PICTURE_ENDINGS
from medssl.scans.readers import ITK_ENDINGS, NIFTI_ENDINGS
from medssl.scans.streams import require_whole

_KEPT = (torch.int8, torch.uint8, torch.int16, torch.int32)


class VerifiedLoadImage(LoadImage):
    """Load one volume and verify every byte of it.

    The file is read to its end (`medssl.scans.streams`), for NIfTI in the same pass that reads its voxels, and its
    header must describe a volume with sound geometry. SimpleITK reads NRRD, MetaImage and DICOM series, Pillow reads
    PNG, TIFF and BMP, and MONAI anything else.

    Args:
        reader: one of MONAI's own readers to use instead.
        image_only: return no separate dictionary of metadata; the tensor has them.
        dtype: type of the voxels; ``None`` keeps int8, uint8, int16 and int32 and turns anything else into float32.
        ensure_channel_first: add the channel axis.
        spatial_dims: required number of spatial axes, 2 or 3; ``None``: either.
    """

    def __init__(
        self,
        reader: type[ImageReader] | str | None = None,
        image_only: bool = True,
        dtype: Any = np.float32,
        ensure_channel_first: bool = False,
        spatial_dims: int | None = 3,
    ) -> None:
        super().__init__(reader, image_only=image_only, dtype=dtype, ensure_channel_first=ensure_channel_first)
        self.has_own_reader = reader is not None
        self.spatial_dims = spatial_dims
        if reader is None:
            # MONAI asks the last registered reader first.
            self.register(SimpleITKReader())
            self.register(PictureReader())

    def __call__(
        self, filename: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], reader: ImageReader | None = None
    ) -> Any:
        """Load the volume as a ``MetaTensor`` with its affine to RAS mm.

        Args:
            filename: file, or folder of a DICOM series.
            reader: reader for this call only.

        Raises:
            ValueError: if the file is damaged or cannot be read; the message names it.
        """
        paths = ensure_tuple(filename)
        if reader is None and not self.has_own_reader and all(_ends(path, NIFTI_ENDINGS) for path in paths):
            reader = LoadedNifti(paths, self.spatial_dims)
        else:
            _verify(paths, self.spatial_dims)
        try:
            loaded = super().__call__(filename, reader)
        except Exception as error:
            raise ValueError(f"{filename} cannot be read: {error}") from error
        if self.dtype is not None:
            return loaded
        return _in_kept_type(loaded) if self.image_only else (_in_kept_type(loaded[0]), loaded[1])


def _verify(paths: Sequence[str | os.PathLike[str]], spatial_dims: int | None) -> None:
    for path in paths:
        if os.path.isdir(path) or _ends(path, (*NIFTI_ENDINGS, *ITK_ENDINGS, *PICTURE_ENDINGS)):
            verified_header(path, spatial_dims)
        else:
            require_whole(path)


def _ends(path: str | os.PathLike[str], endings: tuple[str, ...]) -> bool:
    return str(path).lower().endswith(endings) and not os.path.isdir(path)


def _in_kept_type(volume: Tensor) -> Tensor:
    return volume if volume.dtype in _KEPT else volume.to(torch.float32)


class VerifiedLoadImaged(LoadImaged):
    """Load and verify the volumes of a sample, each with `VerifiedLoadImage`.

    Args:
        keys: keys of the paths in the sample.
        reader: one of MONAI's own readers to use instead.
        dtype: type of the voxels; ``None`` keeps small integers (see `VerifiedLoadImage`).
        image_only: return no separate dictionaries of metadata; the tensors have them.
        ensure_channel_first: add the channel axis.
        allow_missing_keys: ignore keys that the sample lacks.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import nibabel as nib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scan = Path(folder) / "scan.nii.gz"
        ...     nib.save(nib.Nifti1Image(np.ones((6, 5, 4), np.int16), np.eye(4)), scan)
        ...     sample = VerifiedLoadImaged("image")({"image": scan})
        >>> tuple(sample["image"].shape)
        (6, 5, 4)
    """

    def __init__(
        self,
        keys: Sequence[str] | str,
        reader: type[ImageReader] | str | None = None,
        dtype: Any = np.float32,
        image_only: bool = True,
        ensure_channel_first: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, image_only=image_only, allow_missing_keys=allow_missing_keys)
        self._loader = VerifiedLoadImage(reader, image_only, dtype, ensure_channel_first)
