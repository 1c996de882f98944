"""2D images and their masks, with the number of channels that a network takes."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from monai.transforms import LoadImaged
from monai.utils import MetaKeys
from torch import Tensor

from medssl.scans.channels import image_files
from medssl.scans.colours import parse_label_colours
from medssl.scans.contents import channel_problems
from medssl.scans.labels import read_label
from medssl.scans.loading import VerifiedLoadImage, quiet_readers
from medssl.scans.pictures import PICTURE_AFFINE, is_picture
from medssl.scans.structure_loading import load_structures
from medssl.scans.structures import structure_path


class LoadImages2Dd(LoadImaged):
    """Load the images and masks of a sample, shape ``(C, x, y)``: pictures (PNG, TIFF, BMP) or 2D medical files.

    The first axis of a picture is x, from left to right, and the second y, from top to bottom; its pixels have size 1,
    and it lies where ITK and 3D Slicer place it (`medssl.scans.pictures.PICTURE_AFFINE`).
    Images have ``in_channels`` channels: three equal ones become one, a single one is repeated, and different ones are
    never mixed. Masks have one. Where masks are colour pictures, the samples of `medssl.data.datalist.load_section`
    hold ``label_colours``.

    Args:
        keys: keys of the paths in the sample.
        in_channels: channels of images.
        label_key: key of masks.
        allow_missing_keys: ignore keys that the sample lacks.
        allow_bad_values: log a warning about the pixels of an image instead of refusing it.

    Raises:
        ValueError: if a file is damaged, holds unusable values or has other channels, or a mask differs in size from
            its image; the message names the file.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (5, 3), "red").save(f"{folder}/mask.png")
        ...     sample = {"label": f"{folder}/mask.png", "label_colours": "1=#ff0000"}
        ...     label = LoadImages2Dd("label")(sample)["label"]
        >>> tuple(label.shape), int(label.min())
        ((1, 5, 3), 1)
    """

    def __init__(
        self,
        keys: KeysCollection,
        in_channels: int = 1,
        label_key: str = "label",
        allow_missing_keys: bool = False,
        allow_bad_values: bool = False,
    ) -> None:
        with quiet_readers():
            super().__init__(keys, allow_missing_keys=allow_missing_keys)
        self.in_channels = in_channels
        self.label_key = label_key
        self._loader = VerifiedLoadImage(
            dtype=np.float32, ensure_channel_first=True, spatial_dims=2, allow_bad_values=allow_bad_values
        )

    def __call__(self, data: Mapping[Hashable, Any], reader: Any = None) -> dict[Hashable, Any]:
        """Replace the paths of a sample by images and masks.

        Args:
            data: the sample.
            reader: reader of images, instead of the one that their endings choose.
        """
        sample = dict(data)
        colours = sample.get("label_colours")
        shapes = {}
        for key in self.key_iterator(sample):
            path = sample[key]
            sample[key] = load_label(path, colours, 2) if key == self.label_key else self._image(path, reader)
            if "case" in sample:
                sample[key].meta["case"] = sample["case"]
            shapes[key] = (image_files(path)[0], tuple(sample[key].shape[1:]))
        _require_one_size(shapes)
        return sample

    def _image(self, path: Any, reader: Any) -> Tensor:
        if isinstance(path, list | tuple):
            return self._channels(path, reader)
        image = _in_plane(self._loader(path, reader))
        for problem in channel_problems(image.movedim(0, -1).numpy(), self.in_channels, 2):
            raise ValueError(f"{path} cannot be used: {problem.text}")
        if len(image) == self.in_channels:
            return image
        return image[:1] if self.in_channels == 1 else image.expand(self.in_channels, -1, -1).contiguous()

    def _channels(self, paths: Any, reader: Any) -> Tensor:
        """Load an image of several files, one for each channel."""
        images = [_in_plane(self._loader(path, reader)) for path in paths]
        _require_one_size({path: (path, tuple(image.shape[1:])) for path, image in zip(paths, images, strict=True)})
        several = next((path for path, image in zip(paths, images, strict=True) if len(image) > 1), None)
        if several is not None:
            raise ValueError(f"{several} cannot be used: it has several channels itself; list one file for each.")
        if len(images) != self.in_channels:
            raise ValueError(f"{paths[0]} is one of {len(images)} channels, but in_channels is {self.in_channels}.")
        together = MetaTensor(torch.cat([torch.as_tensor(image) for image in images]), meta=dict(images[0].meta))
        together.affine = images[0].affine
        return together


def load_label(
    path: Any, colours: str | None = None, spatial_dims: int | None = None, scan: Any = None, names: str | None = None
) -> MetaTensor:
    """Load the label map of a file with its affine, float32 of shape ``(1, *spatial)``.

    Args:
        path: file of the label.
        colours: colours of the label values as text (`medssl.scans.colours.format_label_colours`), for colour masks.
        spatial_dims: required number of spatial axes, 2 or 3; ``None``: either.
        scan: what a DICOM SEG or RTSTRUCT belongs to.
        names: of the label values of a DICOM SEG or RTSTRUCT, as text (`medssl.scans.structures.names_as_text`).

    Raises:
        ValueError: if it cannot be read; the message names the file.
    """
    if structure_path(path) is not None:
        return load_structures(path, scan, names).to(torch.float32)
    if not is_picture(path):
        load = VerifiedLoadImage(ensure_channel_first=True, spatial_dims=spatial_dims, is_label=True)
        return _in_plane(load(path))
    labels = read_label(path, None if colours is None else parse_label_colours(colours), 2)
    label = torch.from_numpy(labels.astype(np.float32))[None]
    return MetaTensor(
        label, affine=to_affine_nd(2, torch.from_numpy(PICTURE_AFFINE)), meta={"filename_or_obj": str(path)}
    )


def _in_plane(image: MetaTensor) -> MetaTensor:
    """Give a 2D image the affine of its plane; MONAI would take the third axis of a 3D one for an axis of the image."""
    if image.ndim == 3:
        image.affine = to_affine_nd(2, image.affine)
        image.meta[MetaKeys.ORIGINAL_AFFINE] = image.affine.clone()
        # The channels come first now; without this, MONAI's writers would take y for the channels.
        image.meta[MetaKeys.ORIGINAL_CHANNEL_DIM] = float("nan")
    return image


def _require_one_size(shapes: Mapping[Hashable, tuple[Any, tuple[int, ...]]]) -> None:
    (first, size), *others = shapes.values() or [(None, ())]
    for path, other in others:
        if other != size:
            raise ValueError(
                f"{path} has {other[0]} x {other[1]} pixels, but {first} has {size[0]} x {size[1]}; give a mask or a "
                "channel of the size of its image."
            )
