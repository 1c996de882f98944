"""MONAI's ``LoadImaged`` for files that may be damaged, and DICOM, NRRD and MetaImage without the package itk."""

import logging
import os
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import ImageReader, MetaTensor
from monai.transforms import LoadImage, LoadImaged
from monai.utils import ensure_tuple
from torch import Tensor

from medssl.scans.channel_loading import ChannelLoader, header_of
from medssl.scans.channels import image_files
from medssl.scans.contents import image_problems, whole_number_problems
from medssl.scans.geometry import pair_problems
from medssl.scans.headers import VolumeHeader
from medssl.scans.integrity import has_error, verified_header
from medssl.scans.memory import ScanTooLargeError, naming_memory
from medssl.scans.monai_readers import PictureReader, SimpleITKReader
from medssl.scans.nifti import LoadedNifti
from medssl.scans.pictures import PICTURE_ENDINGS
from medssl.scans.readers import ITK_ENDINGS, NIFTI_ENDINGS, is_series
from medssl.scans.streams import require_whole
from medssl.scans.structure_loading import load_structures
from medssl.scans.structures import structure_path

_KEPT = (torch.int8, torch.uint8, torch.int16, torch.int32)

_GPU_DECODER = logging.getLogger("monai.data.nvimgcodec_pydicom_plugin")
logger = logging.getLogger(__name__)


@contextmanager
def quiet_readers() -> Iterator[None]:
    """Silence MONAI's two warnings of a decoder on the GPU, which it gives for every loader if pydicom is installed."""
    _GPU_DECODER.disabled = True
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "NvImgCodecPydicomReader")
        yield


class VerifiedLoadImage(LoadImage):
    """Load one volume and verify every byte of it.

    The file is read to its end (`medssl.scans.streams`), for NIfTI in the same pass that reads its voxels, and its
    header must describe a volume with sound geometry. A scan whose voxels `medssl check` calls an error (NaN, Inf, one
    value everywhere, values too large for float32) is refused, and so is a label whose values are not whole numbers;
    what differs from one by up to 0.01 is rounded. SimpleITK reads NRRD, MetaImage and DICOM series, Pillow reads PNG,
    TIFF and BMP, and MONAI anything else.

    Args:
        reader: one of MONAI's own readers to use instead.
        image_only: return no separate dictionary of metadata; the tensor has them.
        dtype: type of the voxels; ``None`` keeps int8, uint8, int16 and int32 and turns anything else into float32.
        ensure_channel_first: add the channel axis.
        spatial_dims: required number of spatial axes, 2 or 3; ``None``: either.
        is_label: the files are label maps.
        allow_bad_values: log a warning about the voxels of a scan instead of refusing it.
        channels: required number of volumes in a 3D file; ``None``: any.
    """

    def __init__(
        self,
        reader: type[ImageReader] | str | None = None,
        image_only: bool = True,
        dtype: Any = np.float32,
        ensure_channel_first: bool = False,
        spatial_dims: int | None = 3,
        is_label: bool = False,
        allow_bad_values: bool = False,
        channels: int | None = 1,
    ) -> None:
        with quiet_readers():
            super().__init__(reader, image_only=image_only, dtype=dtype, ensure_channel_first=ensure_channel_first)
        self.has_own_reader = reader is not None
        self.spatial_dims = spatial_dims
        self.channels = channels
        self.is_label = is_label
        self.allow_bad_values = allow_bad_values
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
            ValueError: if the file is damaged, cannot be read or holds unusable values; the message names it.
        """
        with naming_memory(filename):
            loaded = self._load(filename, reader)
            volume, *rest = (loaded,) if self.image_only else loaded
            volume = self._judged(volume if self.dtype is not None else _in_kept_type(volume), filename)
        return (volume, *rest) if rest else volume

    def _load(self, filename: Any, reader: ImageReader | None) -> Any:
        paths = ensure_tuple(filename)
        if reader is None and not self.has_own_reader and all(_ends(path, NIFTI_ENDINGS) for path in paths):
            reader = LoadedNifti(paths, self.spatial_dims, self.channels)
        else:
            _verify(paths, self.spatial_dims, self.channels)
        try:
            # What a cast makes infinite is counted below.
            with np.errstate(over="ignore"):
                return super().__call__(filename, reader)
        except (MemoryError, ScanTooLargeError):
            raise
        except Exception as error:
            raise ValueError(f"{filename} cannot be read: {error}") from error

    def _judged(self, volume: Tensor, filename: Any) -> Tensor:
        """Return the volume, a label with whole numbers; refuse unusable values."""
        voxels = torch.as_tensor(volume).numpy()
        # Each channel must be sound by itself.
        parts = [voxels] if self.channels == 1 or not self.ensure_channel_first else list(voxels)
        problems = [problem for part in parts for problem in image_problems(part, "image")]
        problems = whole_number_problems(voxels) if self.is_label else problems
        if has_error(problems) and (self.is_label or not self.allow_bad_values):
            advice = "" if self.is_label else " (allow_bad_values: true uses it as it is.)"
            raise ValueError(f"{filename} cannot be used: {problems[0].text}{advice}")
        if has_error(problems):
            logger.warning("%s is used although %s", filename, problems[0].text)
        return volume.round() if self.is_label and problems else volume


def _verify(paths: Sequence[str | os.PathLike[str]], spatial_dims: int | None, channels: int | None) -> None:
    for path in paths:
        if is_series(path) or _ends(path, (*NIFTI_ENDINGS, *ITK_ENDINGS, *PICTURE_ENDINGS)):
            verified_header(path, spatial_dims, channels)
        else:
            require_whole(path)


def _ends(path: str | os.PathLike[str], endings: tuple[str, ...]) -> bool:
    return str(path).lower().endswith(endings) and not os.path.isdir(path)


def _in_kept_type(volume: Tensor) -> Tensor:
    return volume if volume.dtype in _KEPT else volume.to(torch.float32)


class VerifiedLoadImaged(LoadImaged):
    """Load and verify the volumes of a sample, each with `VerifiedLoadImage`, and require one grid for all.

    A list of files, or of channels of a file (`medssl.scans.channels`), is a scan of several channels, which come
    first. A DICOM SEG or RTSTRUCT as a label is put on the
    grid of its scan (`medssl.scans.structure_labels`) with the ``label_names`` of the sample.

    Args:
        keys: keys of the paths in the sample.
        reader: one of MONAI's own readers to use instead.
        dtype: type of the voxels; ``None`` keeps small integers (see `VerifiedLoadImage`).
        image_only: return no separate dictionaries of metadata; the tensors have them.
        ensure_channel_first: add the channel axis.
        allow_missing_keys: ignore keys that the sample lacks.
        label_keys: keys of label maps; all others are scans.
        allow_bad_values: log a warning about the voxels of a scan instead of refusing it.
        in_channels: channels that a scan must have, in one file or several; 1: those that the sample lists.

    Raises:
        ValueError: if a file is damaged, cannot be read, holds unusable values or does not lie on the grid of the first
            one; the message names it.

    Example:
        >>> import tempfile
        >>> import nibabel as nib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scan = f"{folder}/scan.nii.gz"
        ...     nib.save(nib.Nifti1Image(np.arange(120, dtype=np.int16).reshape(6, 5, 4), np.eye(4)), scan)
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
        label_keys: Sequence[str] | str = ("label", "pred"),
        allow_bad_values: bool = False,
        in_channels: int = 1,
    ) -> None:
        with quiet_readers():
            super().__init__(keys, image_only=image_only, allow_missing_keys=allow_missing_keys)
        settings = (reader, image_only, dtype, ensure_channel_first)
        self._loader = VerifiedLoadImage(*settings, allow_bad_values=allow_bad_values)
        self._channels = ChannelLoader(
            VerifiedLoadImage(reader, True, dtype, True, allow_bad_values=allow_bad_values, channels=None), in_channels
        )
        self._label_loader = VerifiedLoadImage(*settings, is_label=True)
        self.label_keys = ensure_tuple(label_keys)

    def __call__(self, data: Mapping[Hashable, Any], reader: ImageReader | None = None) -> dict[Hashable, Any]:
        """Replace the paths of a sample by volumes.

        Args:
            data: the sample.
            reader: reader for this call only.
        """
        sample = dict(data)
        headers: list[VolumeHeader] = []
        for key, meta_key, postfix in self.key_iterator(sample, self.meta_keys, self.meta_key_postfix):
            path, loader = sample[key], self._label_loader if key in self.label_keys else self._loader
            is_several = key not in self.label_keys and self._channels.loads(path)
            if is_several:
                together = self._channels(path, reader)
                loaded = together if loader.image_only else (together, dict(together.meta))
            elif key in self.label_keys and structure_path(path) is not None:
                loaded = self._structures(path, headers[0].path if headers else None, sample.get("label_names"))
            else:
                loaded = loader(path, reader)
            volume, *rest = (loaded,) if loader.image_only else loaded
            if "case" in sample and isinstance(volume, MetaTensor):
                # Whoever saves what was made of the volume names it by its case.
                volume.meta["case"] = sample["case"]
            is_channel_first = loader.ensure_channel_first or is_several
            headers.append(header_of(image_files(path)[0], volume, is_channel_first))
            if headers[1:]:
                _join_grid(headers[0], headers[-1], volume)
            sample |= {key: volume, **{meta_key or f"{key}_{postfix}": meta for meta in rest}}
        return sample

    def _structures(self, path: Any, scan: Path | None, names: str | None) -> Any:
        label = load_structures(path, scan, names)
        label = label if self._loader.dtype is None else label.to(torch.float32)
        label = label if self._loader.ensure_channel_first else label[0]
        return label if self._loader.image_only else (label, dict(label.meta))


def _join_grid(image: VolumeHeader, label: VolumeHeader, volume: Tensor) -> None:
    """Require the grid of the image, and set a header that differs from it by a rounded spacing.

    This compares what was loaded, which costs nothing; `medssl check` compares the headers.
    """
    problems = pair_problems(image, label)
    if has_error(problems):
        raise ValueError(f"{label.path} cannot be used with {image.path}: {problems[0].text}")
    if isinstance(volume, MetaTensor) and np.array_equal(*map(nib.io_orientation, (image.affine, label.affine))):
        # Otherwise resampling could give label and image another number of voxels.
        volume.affine = torch.as_tensor(image.affine)
