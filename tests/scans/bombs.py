"""Headers that promise far more than a file holds, and small files that do hold it, 1,000 : 1."""

import gzip
import io
import struct
import zlib
from functools import cache

import nibabel as nib
import numpy as np
import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tests.scans.damages import png_chunk

SIZES = [
    (30000, 30000, 3000),
    (65535, 65535, 1),
    (2000, 2000, 1000),
    (2**31 - 1, 1, 1),
    (1, 1, 2**31 - 1),
    (900, 900, 90),
]
# Bytes that a packed file really holds: less than the promise, or all of it.
GIB = 2**30
_BLOCK = 2**26


def bomb(family: str, content: bytes, rng: np.random.Generator) -> bytes:
    """Turn a sound file into one that promises much more, and keeps the promise now and then if it is packed."""
    return {"nifti": _nifti, "text": _text, "dicom": _dicom, "png": _png, "tiff": _tiff}[family](content, rng)


def _shape(rng: np.random.Generator) -> tuple[int, int, int]:
    return SIZES[rng.integers(len(SIZES))]


def _nifti(content: bytes, rng: np.random.Generator) -> bytes:
    is_packed = content[:2] == b"\x1f\x8b"
    plain = gzip.decompress(content) if is_packed else content
    header = nib.Nifti1Header(plain[:348], check=False)
    if not is_packed or rng.random() < 0.9:
        header["dim"][1:4] = [min(size, 32767) for size in _shape(rng)]
        changed = header.binaryblock + plain[348:]
        return gzip.compress(changed, mtime=0) if is_packed else changed
    held, promised = _held_and_promised(rng)
    header["dim"][1:4] = (1024, 1024, promised // 2**21)
    return gzip.compress(header.binaryblock + bytes(4), mtime=0) + _gzip_zeros() * (held // _BLOCK)


def _held_and_promised(rng: np.random.Generator) -> tuple[int, int]:
    choices = [(GIB // 4, GIB // 4), (2 * GIB, GIB // 4), (8 * GIB, 8 * GIB), (GIB // 4, 3 * GIB)]
    return choices[rng.integers(len(choices))]


@cache
def _gzip_zeros() -> bytes:
    return gzip.compress(bytes(_BLOCK), mtime=0)


@cache
def _deflated_zeros() -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(bytes(_BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)


def _zlib_zeros(count: int) -> bytes:
    end = zlib.compressobj(9, wbits=-15).flush()
    return b"\x78\xda" + _deflated_zeros() * (count // _BLOCK) + end + struct.pack(">I", (count % 65521) << 16 | 1)


def _text(content: bytes, rng: np.random.Generator) -> bytes:
    key = b"sizes: " if content.startswith(b"NRRD") else b"DimSize = "
    before, _, rest = content.partition(key)
    is_packed = b"gzip" in content or b"CompressedData = True" in content
    if not is_packed or rng.random() < 0.9:
        return before + key + b"%d %d %d" % _shape(rng) + rest[rest.index(b"\n") :]
    held, promised = _held_and_promised(rng)
    head = before + key + b"1024 1024 %d" % (promised // 2**21) + rest[rest.index(b"\n") :]
    if key == b"sizes: ":
        return head.partition(b"\n\n")[0] + b"\n\n" + _gzip_zeros() * (held // _BLOCK)
    packed = _zlib_zeros(held)
    lines = head[: head.index(b"LOCAL")].split(b"\n")
    lines = [b"CompressedDataSize = %d" % len(packed) if b"CompressedDataSize" in line else line for line in lines]
    return b"\n".join(lines) + b"LOCAL\n" + packed


def _dicom(content: bytes, rng: np.random.Generator) -> bytes:
    data = pydicom.dcmread(io.BytesIO(content))
    if rng.random() < 0.1:
        return deflated(data, GIB // 4 if rng.random() < 0.5 else 6 * GIB)
    columns, rows, frames = _shape(rng)
    data.Columns, data.Rows = min(columns, 65535), min(rows, 65535)
    if "NumberOfFrames" in data:
        data.NumberOfFrames = frames
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def deflated(data: pydicom.FileDataset, count: int) -> bytes:
    """Give the file in the deflated transfer syntax, with zeros behind its last element."""
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    content = buffer.getvalue()
    start = 144 + int.from_bytes(content[140:144], "little")
    plain = zlib.decompress(content[start:], -15)
    packer = zlib.compressobj(9, wbits=-15)
    element = struct.pack("<HH2sHI", 0x7FE1, 0x1001, b"OB", 0, min(count, 2**32 - 2))
    packed = packer.compress(plain + element) + packer.flush(zlib.Z_FULL_FLUSH) + _deflated_zeros() * (count // _BLOCK)
    return content[:start] + packed + zlib.compressobj(9, wbits=-15).flush()


def _png(content: bytes, rng: np.random.Generator) -> bytes:
    width, height, _ = _shape(rng)
    # 8 bits, grey.
    head = content[:8] + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    held = _BLOCK * int(rng.integers(1, 8)) if rng.random() < 0.2 else 0
    return head + png_chunk(b"IDAT", _zlib_zeros(held)) + png_chunk(b"IEND", b"")


def _tiff(content: bytes, rng: np.random.Generator) -> bytes:
    (start,) = struct.unpack("<I", content[4:8])
    (count,) = struct.unpack("<H", content[start : start + 2])
    width, height, _ = _shape(rng)
    changed = bytearray(content)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        (tag,) = struct.unpack("<H", content[place : place + 2])
        if tag in (256, 257, 278):
            changed[place : place + 12] = struct.pack("<HHII", tag, 4, 1, width if tag == 256 else height)
    return bytes(changed)
