"""The header of a DICOM file, read only if no element promises more bytes than the file has.

GDCM, which decodes the pixels, allocates what the length of an element says before it reads it: 4 GiB for a few bytes
of rubbish behind the pixels.
"""

import mmap
import struct
from collections.abc import Sequence

import pydicom
from pydicom.filereader import data_element_generator, read_partial

# Of pixels as integers, float and double.
_PIXELS = (0x7FE00010, 0x7FE00008, 0x7FE00009)
_FIRST_PIXELS = min(_PIXELS)
# What 2 bytes can say is not worth a look.
_SHORT = 0xFFFF
_UNDEFINED = 0xFFFFFFFF
# Types whose length takes 4 bytes.
_LONG = (b"OB", b"UN", b"UT")
_ITEM, _END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


def header_within(content: mmap.mmap, tags: Sequence[int]) -> pydicom.FileDataset:
    """Read some tags of a DICOM file that is not deflated, without its pixels.

    The lengths of all elements outside sequences are held against the file, and those of compressed pixels.

    Args:
        content: of the file.
        tags: what to read.

    Raises:
        ValueError: if a length exceeds the file.
    """
    _require_sound_meta(content)
    pixels = None

    def is_pixels(tag: int, vr: str | None, length: int) -> bool:
        nonlocal pixels
        if length <= _SHORT and tag < _FIRST_PIXELS:
            return False
        _require_within(content, tag, length)
        if tag in _PIXELS:
            pixels = content.tell(), length
        return tag in _PIXELS

    header = read_partial(content, is_pixels, force=True, specific_tags=list(tags))
    if pixels is not None:
        start, length = pixels
        _require_end(content, header, _fragments_end(content, start) if length == _UNDEFINED else start + length)
    return header


def _require_sound_meta(content: mmap.mmap) -> None:
    """Check the elements of group 2 behind the preamble, which say their type in every file."""
    place = 132 if content[128:132] == b"DICM" else len(content)
    while place + 12 <= len(content):
        group, element, kind, length = struct.unpack_from("<HH2sH", content, place)
        if group != 2:
            return
        place += 8
        if kind in _LONG:
            (length,) = struct.unpack_from("<I", content, place)
            place += 4
        if not (kind.isalpha() and kind.isupper()) or place + length > len(content):
            raise ValueError(f"its element (0002,{element:04X}) is damaged")
        place += length


def _require_within(content: mmap.mmap, tag: int, length: int) -> None:
    left = len(content) - content.tell()
    if length != _UNDEFINED and length > left:
        raise ValueError(f"its element {pydicom.tag.Tag(tag)} promises {length} bytes, and {left} are left")


def _fragments_end(content: mmap.mmap, place: int) -> int:
    """Return where the fragments of compressed pixels end."""
    while place + 8 <= len(content):
        group, element, length = struct.unpack_from("<HHI", content, place)
        place += 8
        if (group, element) == _END:
            return place
        if (group, element) != _ITEM or place + length > len(content):
            raise ValueError("the fragments of its pixels are damaged")
        place += length
    return len(content)


def _require_end(content: mmap.mmap, header: pydicom.FileDataset, place: int) -> None:
    """Check what lies behind the pixels: nothing in most files, padding or a signature in some."""
    if place >= len(content):
        return

    def is_wrong(tag: int, vr: str | None, length: int) -> bool:
        _require_within(content, tag, length)
        return False

    syntax = header.file_meta.get("TransferSyntaxUID", pydicom.uid.ImplicitVRLittleEndian)
    content.seek(place)
    for _ in data_element_generator(content, syntax.is_implicit_VR, syntax.is_little_endian, is_wrong):
        pass
