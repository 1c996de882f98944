"""The channels of a scan, read to the end one after another."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from medssl.scans.channels import ImagePath, image_channels
from medssl.scans.integrity import WholeVolume, read_whole


class WholeChannel(NamedTuple):
    """A channel as a volume.

    Attributes:
        name: how a data list names it.
        volume: what could be read of it, with its problems.
    """

    name: str
    volume: WholeVolume


def whole_channels(image: ImagePath | Sequence[ImagePath], spatial_dims: int = 3) -> Iterator[WholeChannel]:
    """Yield the channels of a scan; a file that cannot be read is yielded once.

    Args:
        image: file, channel of a file, or a list of them, as in a data list.
        spatial_dims: required number of spatial axes, 2 or 3.
    """
    read: dict[str, WholeVolume] = {}
    for channel in image_channels(image):
        if channel.file in read and read[channel.file].voxels is None:
            continue
        if channel.file not in read:
            # What was read of the file before is let go.
            read = {channel.file: read_whole(channel.file, spatial_dims, channels=channel.count)}
        whole = read[channel.file]
        if channel.count > 1 and whole.voxels is not None:
            problems = whole.problems if channel.number == 0 else []
            yield WholeChannel(str(channel), WholeVolume(problems, whole.header, whole.voxels[..., channel.number]))
        else:
            yield WholeChannel(channel.file, whole)
