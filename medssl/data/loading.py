"""MONAI's ``LoadImaged`` for files that may be damaged, and for DICOM, NRRD and MetaImage without the package itk."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.transforms import LoadImage, LoadImaged
from monai.utils import ensure_tuple

from medssl.data.integrity import verified_header
from medssl.data.readers import ITK_ENDINGS, NIFTI_ENDINGS, SimpleITKReader
from medssl.data.streams import require_whole


class VerifiedLoadImage(LoadImage):
    """Load one volume of which every byte was verified.

    Before MONAI reads a file, its stream is read to the end (`medssl.data.streams.require_whole`), and its header must
    describe a 3D volume in a sound place. NIfTI is read by nibabel; NRRD, MetaImage and the folder of a DICOM series by
    SimpleITK; anything else as MONAI does.

    Args:
        reader: one of MONAI's own readers to use instead.
        image_only: leave the dictionary of metadata out; the tensor has them.
        dtype: of the voxels.
        ensure_channel_first: add the channel axis.
    """

    def __init__(
        self,
        reader: type[ImageReader] | str | None = None,
        image_only: bool = True,
        dtype: Any = np.float32,
        ensure_channel_first: bool = False,
    ) -> None:
        super().__init__(reader, image_only=image_only, dtype=dtype, ensure_channel_first=ensure_channel_first)
        if reader is None:
            # The last one registered is asked first.
            self.register(SimpleITKReader())

    def __call__(
        self, filename: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], reader: ImageReader | None = None
    ) -> Any:
        """Return the volume, a ``MetaTensor`` with its affine to RAS mm.

        Args:
            filename: file, or folder of a DICOM series.
            reader: to use for this call.

        Raises:
            ValueError: if the file is damaged or cannot be read; the message names it.
        """
        for path in ensure_tuple(filename):
            if os.path.isdir(path) or str(path).lower().endswith((*NIFTI_ENDINGS, *ITK_ENDINGS)):
                verified_header(path)
            else:
                require_whole(path)
        try:
            return super().__call__(filename, reader)
        except Exception as error:
            raise ValueError(f"{filename} cannot be read: {error}") from error


class VerifiedLoadImaged(LoadImaged):
    """Load the volumes of a sample, each verified as by `VerifiedLoadImage`.

    Args:
        keys: of the paths in the sample.
        reader: one of MONAI's own readers to use instead.
        dtype: of the voxels.
        image_only: leave the dictionaries of metadata out; the tensors have them.
        ensure_channel_first: add the channel axis.
        allow_missing_keys: pass over keys that the sample lacks.

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
