"""The channels of a scan as one tensor, whether they lie in one file or in several."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import ImageReader, MetaTensor
from monai.utils import MetaKeys
from torch import Tensor

from medssl.scans.channels import Channel, ImagePath, channels_of_file, grid_problems, image_channels
from medssl.scans.headers import VolumeHeader

_Load = Callable[[str, ImageReader | None], MetaTensor]


class ChannelLoader:
    """Load the channels of a scan and require one grid for all.

    Args:
        load: loads a file of any number of volumes, which come first.
        in_channels: channels that a scan must have; 1: those that are listed.
    """

    def __init__(self, load: _Load, in_channels: int = 1) -> None:
        self.load = load
        self.in_channels = in_channels

    def loads(self, image: Any) -> bool:
        """Tell whether an image has several channels, or lists one of several."""
        return self.in_channels > 1 or not isinstance(image, str | os.PathLike) or image_channels(image)[0].count > 1

    def __call__(self, image: ImagePath | Sequence[ImagePath], reader: ImageReader | None = None) -> MetaTensor:
        """Load a scan, shape ``(C, *spatial)``.

        Args:
            image: file, channel of a file, or a list of them (`medssl.scans.channels`). One file stands for all of its
                channels where several are required.
            reader: reader for this call only.

        Raises:
            ValueError: if a file cannot be used, holds another number of channels, or lies on another grid.
        """
        channels = image_channels(image)
        if channels[1:] == [] and channels[0].count == 1 and self.in_channels > 1:
            channels = image_channels(channels_of_file(channels[0].file, self.in_channels))
        if self.in_channels not in (1, len(channels)):
            raise ValueError(
                f"{channels[0].file} is one of {len(channels)} channels where {self.in_channels} are wanted; list as "
                "many files."
            )
        volumes = list(self._volumes(channels, reader))
        together = MetaTensor(torch.cat([torch.as_tensor(volume) for volume in volumes]), meta=dict(volumes[0].meta))
        together.affine = volumes[0].affine
        # For MONAI's `EnsureChannelFirstd`, which may follow.
        together.meta[MetaKeys.ORIGINAL_CHANNEL_DIM] = 0
        return together

    def _volumes(self, channels: Sequence[Channel], reader: ImageReader | None) -> Iterator[MetaTensor]:
        """Yield the volumes of channels; those of one file that follow each other are read once, together."""
        first = None
        for file, count, numbers in _by_file(channels):
            volume = self.load(file, reader)
            if len(volume) != count:
                held = f"{len(volume)} channels" if len(volume) > 1 else "one channel"
                raise ValueError(
                    f"{file} cannot be used: it holds {held} where {count} are wanted; give one file with {count}, or "
                    "one file for each in the right order."
                    if count > 1
                    else f"{file} cannot be used: it has {held} itself; list one file for each channel."
                )
            header = header_of(file, volume, is_channel_first=True)
            first = first or header
            for problem in grid_problems(first, header):
                raise ValueError(f"{file} cannot be used: {problem.text}")
            yield volume if numbers == list(range(count)) else volume[numbers]


def _by_file(channels: Sequence[Channel]) -> Iterator[tuple[str, int, list[int]]]:
    found: list[tuple[str, int, list[int]]] = []
    for channel in channels:
        if not found or found[-1][0] != channel.file:
            found.append((channel.file, channel.count, []))
        found[-1][2].append(channel.number)
    yield from found


def header_of(path: Any, volume: Tensor, is_channel_first: bool) -> VolumeHeader:
    """Return what was loaded of a file as a header.

    Args:
        path: of the file.
        volume: that was loaded.
        is_channel_first: whether its first axis is that of the channels.
    """
    affine = volume.affine.numpy() if isinstance(volume, MetaTensor) else np.eye(4)
    shape = tuple(volume.shape[1:] if is_channel_first else volume.shape)[:3]
    return VolumeHeader(Path(path), shape, 1, False, affine)
