"""One damage to the bytes of a sound file: any change of bytes, or a header that says something else."""

import gzip
import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable

import nibabel as nib
import numpy as np
import pydicom

NUMBERS = [0, 1, 2, 7, -1, 255, 1000, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]
REALS = [*NUMBERS, 0.5, -1.0, 1e-30, 1e30, 1e300, float("nan"), float("inf"), float("-inf")]
WORDS = ["", "x", "nan", "-1", "1e400", "9" * 40, "0", "0 0 0", "1 2", "\0", "é", "../../etc/passwd", "100000 100000 9"]
Damage = Callable[[bytes, np.random.Generator], bytes]


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip one bit."""
    changed = bytearray(content)
    changed[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def overwritten(content: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite one to four bytes, as often in the first 600, where most headers are, as anywhere."""
    changed = bytearray(content)
    end = len(content) if rng.random() < 0.5 else min(600, len(content))
    for place in rng.integers(0, end, rng.integers(1, 5)):
        changed[place] = rng.integers(256)
    return bytes(changed)


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """Keep only the first bytes."""
    return content[: rng.integers(len(content))]


def lengthened(content: bytes, rng: np.random.Generator) -> bytes:
    """Insert bytes at the end or anywhere."""
    place = len(content) if rng.random() < 0.5 else int(rng.integers(len(content)))
    return content[:place] + rng.bytes(int(rng.integers(1, 200))) + content[place:]


def shortened(content: bytes, rng: np.random.Generator) -> bytes:
    """Remove one to eight bytes."""
    place = int(rng.integers(len(content)))
    return content[:place] + content[place + int(rng.integers(1, 9)) :]


BYTES: dict[str, Damage] = {
    "bit flipped": flipped,
    "bytes overwritten": overwritten,
    "cut": cut,
    "bytes added": lengthened,
    "bytes removed": shortened,
}


def other_nifti_field(content: bytes, rng: np.random.Generator) -> bytes:
    """Set one field of the header, or one element of it, to an extreme number."""
    is_packed = content[:2] == b"\x1f\x8b"
    plain = gzip.decompress(content) if is_packed else content
    header = np.frombuffer(plain[:348], nib.Nifti1Header.template_dtype).copy()
    field = rng.choice([name for name in header.dtype.names if header[name].dtype.kind in "iuf"])
    values, kind = header[field].reshape(-1), header[field].dtype
    number = REALS[rng.integers(len(REALS))] if kind.kind == "f" else NUMBERS[rng.integers(len(NUMBERS))]
    with np.errstate(over="ignore"):
        values[rng.integers(values.size)] = np.array(number).astype(kind)
    changed = header.tobytes() + plain[348:]
    return gzip.compress(changed, mtime=0) if is_packed else changed


def other_text_field(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a number or the value of a line of a text header, or drop or repeat the line."""
    head, separator, rest = _text_header(content)
    lines = head.split(b"\n")
    index = int(rng.integers(len(lines)))
    line, choice = lines[index], rng.integers(4)
    numbers = list(re.finditer(rb"-?[\d.]+(e-?\d+)?", line))
    if choice == 0 and numbers:
        found = numbers[rng.integers(len(numbers))]
        line = line[: found.start()] + str(REALS[rng.integers(len(REALS))]).encode() + line[found.end() :]
    elif choice == 1:
        key, sign, _ = line.partition(b"=" if b"=" in line else b":")
        line = key + sign + b" " + WORDS[rng.integers(len(WORDS))].encode()
    lines[index : index + 1] = [[line], [line], [], [line, line]][choice]
    return b"\n".join(lines) + separator + rest


def _text_header(content: bytes) -> tuple[bytes, bytes, bytes]:
    if content.startswith(b"NRRD"):
        return content.partition(b"\n\n")
    place = content.index(b"\n", content.index(b"ElementDataFile"))
    return content[:place], content[place : place + 1], content[place + 1 :]


TAGS = [
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient"),
    *("RescaleSlope", "RescaleIntercept", "PhotometricInterpretation", "SeriesInstanceUID", "SOPClassUID", "Modality"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PixelData"),
]


def other_dicom_tag(content: bytes, rng: np.random.Generator) -> bytes:
    """Set a tag to an extreme value, or drop it; where a file holds groups of tags, also within them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(io.BytesIO(content))
        items = _items(data)
        levels = [data, *items, *(inner for item in items for inner in _items(item))]
        present = [(level, name) for level in levels for name in TAGS if name in level]
        level, name = present[rng.integers(len(present))]
        element = level[name]
        if rng.random() < 0.2 or element.VR in ("SQ", "OW", "OB"):
            del level[name]
        else:
            level[name] = pydicom.DataElement(element.tag, element.VR, _dicom_value(element, rng), validation_mode=0)
        buffer = io.BytesIO()
        data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _items(data: pydicom.Dataset) -> list[pydicom.Dataset]:
    return [item for element in data if element.VR == "SQ" for item in element.value]


def _dicom_value(element: pydicom.DataElement, rng: np.random.Generator):
    if element.VR == "US":
        return [number for number in NUMBERS if 0 <= number < 65536][rng.integers(8)]
    if element.VR in ("DS", "IS"):
        count = element.VM if rng.random() < 0.7 else int(rng.integers(1, 5))
        numbers = NUMBERS if element.VR == "IS" else [number for number in REALS if np.isfinite(number)]
        values = [numbers[rng.integers(len(numbers))] for _ in range(count)]
        return values if count > 1 else values[0]
    return WORDS[rng.integers(len(WORDS))]


def other_png_chunk(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a byte of a chunk, drop or repeat it, with checksums that are right."""
    chunks, place = [], 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], bytearray(content[place + 8 : place + 8 + length])))
        place += length + 12
    index, choice = int(rng.integers(len(chunks))), rng.integers(4)
    name, data = chunks[index]
    if choice < 2 and data:
        data[rng.integers(len(data))] = rng.integers(256)
    elif choice:
        chunks[index : index + 1] = [] if choice == 2 else [(name, data)] * 2
    return content[:8] + b"".join(png_chunk(name, bytes(data)) for name, data in chunks)


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Give a chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def other_tiff_entry(content: bytes, rng: np.random.Generator) -> bytes:
    """Set a part of one entry of the directory, or of where the directory lies, to an extreme number."""
    (start,) = struct.unpack("<I", content[4:8])
    (count,) = struct.unpack("<H", content[start : start + 2])
    changed = bytearray(content)
    if rng.random() < 0.1:
        changed[4:8] = struct.pack("<I", int(rng.integers(2 * len(content))))
        return bytes(changed)
    place = start + 2 + 12 * int(rng.integers(count))
    offset, code = [(0, "<H"), (2, "<H"), (4, "<I"), (8, "<I"), (8, "<I")][rng.integers(5)]
    most = 2 ** (8 * struct.calcsize(code))
    number = [number for number in NUMBERS if 0 <= number < most][rng.integers(8)]
    changed[place + offset : place + offset + struct.calcsize(code)] = struct.pack(code, number)
    return bytes(changed)


FIELDS: dict[str, Damage] = {
    "nifti": other_nifti_field,
    "text": other_text_field,
    "dicom": other_dicom_tag,
    "png": other_png_chunk,
    "tiff": other_tiff_entry,
}
