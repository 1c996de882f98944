"""How large a deflated DICOM file becomes, asked before pydicom inflates all of it at once."""

import mmap

from isal import isal_zlib

_SYNTAX = b"1.2.840.10008.1.2.1.99"
# Bytes of preamble, "DICM", and the element that says the length of the rest of the file meta information.
_META = 144
# Inflates to 16 MiB at most.
_PIECE = 1 << 14


def is_deflated(content: bytes | mmap.mmap) -> bool:
    """Tell whether the file meta information names the deflated transfer syntax.

    Example:
        >>> is_deflated(bytes(128) + b"DICM")
        False
    """
    return _SYNTAX in content[: min(_data_start(content), _PIECE)]


def inflated_bytes(content: bytes | mmap.mmap, most: int) -> int:
    """Count the bytes of the inflated data set, of which at most 16 MiB are held at a time.

    Args:
        content: of a deflated file.
        most: counting ends beyond it. It also ends where the stream is damaged.

    Example:
        >>> file = bytes(144) + isal_zlib.compress(bytes(5_000_000), wbits=-15)
        >>> inflated_bytes(file, 10_000_000)
        5000000
    """
    inflater, place, total = isal_zlib.decompressobj(-15), _data_start(content), 0
    while not inflater.eof and total <= most and (packed := content[place : place + _PIECE]):
        place += len(packed)
        try:
            total += len(inflater.decompress(packed))
        except isal_zlib.error:
            break
    return total


def _data_start(content: bytes | mmap.mmap) -> int:
    return _META + int.from_bytes(content[140:144], "little")
