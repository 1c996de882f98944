"""Whether a file holds, undamaged, every voxel that its header promises.

Common readers stop at the last voxel and never see the checksum after it: a flipped bit in a ``.nii.gz`` gives wrong
voxels and no error. Here every compressed stream is read to its end, in small pieces, by ISA-L, which takes half the
time of zlib.
"""

import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib

from medssl.scans.dicom import dicom_series
from medssl.scans.memory import ScanTooLargeError, itk_bytes, naming_memory, require_memory

_PIECE = 1 << 20
_NIFTI_SIZES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
# Deflate packs at most 258 bytes into 2 bits.
_MOST_INFLATED = 1032
_SUGGESTION = "copy or download it again"


def require_whole(path: str | os.PathLike[str]) -> None:
    """Require that a scan is undamaged: that it passes its checksum and is as long as its header says.

    NIfTI (``.nii``, ``.nii.gz``), NRRD (``.nrrd``, ``.nhdr``) and MetaImage (``.mha``, ``.mhd``) are read to the end,
    at most 1 MiB at a time; a folder must hold one DICOM series. Files of any other kind must not be empty. Changes
    that no checksum covers go unnoticed: a voxel of an uncompressed file, the time and the name in a gzip header.

    Args:
        path: file of a scan, or folder of a DICOM series.

    Raises:
        ValueError: if the file is damaged; the message names it and says what is wrong.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scan = Path(folder) / "scan.nii.gz"
        ...     nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)), scan)
        ...     require_whole(scan)
        ...     _ = scan.write_bytes(scan.read_bytes()[:-9])
        ...     require_whole(scan)
        Traceback (most recent call last):
        ValueError: ...scan.nii.gz is damaged: Compressed file ended before the end-of-stream marker was reached...
    """
    path = Path(path)
    if path.is_dir():
        dicom_series(path)
        return
    with _opened(path) as handle:
        name = path.name.lower()
        if name.endswith((".nii", ".nii.gz")):
            _require_whole_nifti(path, handle)
        elif name.endswith((".nrrd", ".nhdr")):
            _require_whole_nrrd(path, handle)
        elif name.endswith((".mha", ".mhd")):
            _require_whole_metaimage(path, handle)


def whole_nifti(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the voxels of a NIfTI file as stored, neither scaled nor byte-swapped, in one pass.

    The file passes the checks of `require_whole`. Memory is allocated once, after checking that the header promises no
    more than the file can hold.

    Args:
        path: a ``.nii`` or ``.nii.gz`` file.

    Raises:
        ValueError: if the file is damaged; the message names it and says what is wrong.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scan = Path(folder) / "scan.nii.gz"
        ...     nib.save(nib.Nifti1Image(np.full((4, 3, 2), 7, np.int16), np.eye(4)), scan)
        ...     voxels = whole_nifti(scan)
        >>> voxels.dtype.name, voxels.shape, int(voxels.max())
        ('int16', (4, 3, 2), 7)
    """
    path = Path(path)
    with _opened(path) as handle, _decompressed(path, handle) as stream:
        start = stream.read(540)
        header = _parse_nifti(start)
        dtype, promised = nifti_dtype(header), _nifti_bytes(header)
        _require_possible(path, promised, path.suffix.lower() == ".gz")
        content = np.empty(max(promised, len(start)), np.uint8)
        content[: len(start)] = np.frombuffer(start, np.uint8)
        _require_length(_pieces_into(content[len(start) :], stream), promised, len(start))
    shape = [int(size) for size in header["dim"][1 : int(header["dim"][0]) + 1]]
    count = math.prod(shape) * dtype.itemsize
    return np.require(content[promised - count : promised].view(dtype).reshape(shape, order="F"), requirements="A")


def nifti_header(path: str | os.PathLike[str]) -> nib.Nifti1Header:
    """Read the header of a NIfTI-1 or NIfTI-2 file exactly as stored, faults included.

    Args:
        path: a ``.nii`` or ``.nii.gz`` file.

    Raises:
        ValueError: if the file is not NIfTI with header and voxels in one file.
    """
    path = Path(path)
    with path.open("rb") as handle, _decompressed(path, handle) as stream:
        return _parse_nifti(stream.read(540))


def nifti_dtype(header: nib.Nifti1Header) -> np.dtype:
    """Type of a voxel.

    Args:
        header: header from `nifti_header`.

    Raises:
        ValueError: if the type is unknown or not supported.
    """
    try:
        dtype = header.get_data_dtype()
    except (KeyError, nib.spatialimages.HeaderDataError) as error:
        raise ValueError(f"its header names the unknown voxel type {int(header['datatype'])}") from error
    if not dtype.itemsize:
        raise ValueError(f"its header names the voxel type {int(header['datatype'])}, which is not supported")
    return dtype


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, and turn every error while it is read into one that names the file."""
    if not path.exists():
        raise ValueError(f"{path} does not exist; correct the path.")
    try:
        with path.open("rb") as handle:
            start = handle.read(512)
            if not start:
                raise ValueError("it is empty")
            if start.lstrip().startswith(b"<"):
                raise ValueError("it is a web page or XML, not a scan")
            handle.seek(0)
            with naming_memory(path):
                yield handle
    except ScanTooLargeError:
        raise
    except (OSError, EOFError, zlib.error, isal_zlib.error, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} is damaged: {_last_line(error)}; {_SUGGESTION}.") from error


def _require_whole_nifti(path: Path, handle: BinaryIO) -> None:
    with _decompressed(path, handle) as stream:
        start = stream.read(540)
        _require_length(_pieces(stream), _nifti_bytes(_parse_nifti(start)), len(start))


def _decompressed(path: Path, handle: BinaryIO) -> BinaryIO:
    return igzip.IGzipFile(fileobj=handle) if path.suffix.lower() == ".gz" else handle


def _parse_nifti(start: bytes) -> nib.Nifti1Header:
    for order in ("<", ">"):
        size = int(np.frombuffer(start[:4].ljust(4), f"{order}i4")[0])
        if size in _NIFTI_SIZES and len(start) >= size:
            header = _NIFTI_SIZES[size](start[:size], endianness=order, check=False)
            if header["magic"].item()[:3] in (b"n+1", b"n+2"):
                return header
    raise ValueError("it does not start with the header of a NIfTI file")


def _nifti_bytes(header: nib.Nifti1Header) -> int:
    rank = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : rank + 1]]
    if not 1 <= rank <= 7 or min(sizes) < 1:
        raise ValueError(f"its header says {rank} axes of {sizes} voxels")
    offset = float(header["vox_offset"])
    # 0 means "right after the header" and its 4 bytes of extension flags.
    offset = offset or header.sizeof_hdr + 4
    if not header.sizeof_hdr <= offset < 2**40:
        raise ValueError(f"its header says that the voxels start at byte {offset}")
    return int(offset) + math.prod(sizes) * nifti_dtype(header).itemsize


def _require_whole_nrrd(path: Path, handle: BinaryIO) -> None:
    fields = _text_header(handle, ":")
    name = fields.get("data file", fields.get("datafile"))
    encoding = fields.get("encoding", "").lower()
    skips = [fields.get(key, "0") for key in ("line skip", "lineskip", "byte skip", "byteskip")]
    if encoding not in ("raw", "gzip", "gz") or any(skip != "0" for skip in skips):
        raise ValueError(f"encoding '{encoding}' with skips {skips} is not supported; save it again as gzip or raw")
    with _data_of(path, handle, name) as data:
        promised, is_packed = itk_bytes(path), encoding != "raw"
        _require_possible(Path(data.name), promised, is_packed)
        _require_length(_pieces(igzip.IGzipFile(fileobj=data) if is_packed else data), promised)


def _require_whole_metaimage(path: Path, handle: BinaryIO) -> None:
    fields = _text_header(handle, "=", last="elementdatafile")
    name = fields.get("elementdatafile", "")
    if fields.get("binarydata", "true").lower() != "true" or name.split()[:1] in ([], ["LIST"]) or "%" in name:
        raise ValueError("voxels as text or in several files are not supported; save it again as one .mha")
    compressed = fields.get("compresseddata", "false").lower() == "true"
    with _data_of(path, handle, None if name.upper() == "LOCAL" else name) as data:
        promised = itk_bytes(path)
        _require_possible(Path(data.name), promised, compressed)
        _require_length(_inflated(data) if compressed else _pieces(data), promised)


def _text_header(handle: BinaryIO, separator: str, last: str | None = None) -> dict[str, str]:
    """Read ``key separator value`` lines up to an empty line or the key ``last``; keys in lower case."""
    fields: dict[str, str] = {}
    for _ in range(1000):
        line = handle.readline(1 << 16).decode("latin-1").strip()
        key, found, value = line.partition(separator)
        if found:
            fields[key.strip().lower()] = value.strip()
        if not line or key.strip().lower() == last:
            break
    return fields


def _data_of(path: Path, handle: BinaryIO, name: str | None) -> BinaryIO:
    """Return the stream of the voxels: the rest of the file, or the separate file that the header names."""
    return handle if name is None else (path.parent / name).open("rb")


def _require_possible(path: Path, promised: int, is_packed: bool) -> None:
    """Refuse a header that promises more than its file or the memory can hold, before anything is inflated."""
    most = path.stat().st_size * (_MOST_INFLATED if is_packed else 1)
    if promised > most:
        raise ValueError(f"it holds at most {most} of the {promised} bytes its header promises")
    require_memory(path, promised)


def _pieces(stream: BinaryIO) -> Iterator[int]:
    while piece := stream.read(_PIECE):
        yield len(piece)


def _pieces_into(content: np.ndarray, stream: BinaryIO) -> Iterator[int]:
    while len(content) and (length := stream.readinto(content[:_PIECE])):
        yield length
        content = content[length:]
    # The checksum is compared only where the stream ends.
    yield len(stream.read(1))


def _inflated(stream: BinaryIO) -> Iterator[int]:
    # 47: the largest window, with a zlib or a gzip header, as MetaIO accepts both.
    inflater = zlib.decompressobj(47)
    packed = b""
    while not inflater.eof:
        # In small pieces, since what is left of one is copied each time.
        packed = inflater.unconsumed_tail or stream.read(_PIECE >> 6)
        if not packed:
            raise EOFError("the compressed stream ends too early")
        yield len(inflater.decompress(packed, _PIECE))
    if inflater.unused_data or stream.read(1):
        raise ValueError("there are bytes behind the compressed stream")


def _require_length(lengths: Iterator[int], promised: int, total: int = 0) -> None:
    for length in lengths:
        total += length
        # Stop at once: what follows may be a decompression bomb.
        if total > promised:
            raise ValueError(f"it holds more than the {promised} bytes its header promises")
    if total < promised:
        raise ValueError(f"it holds {total} of the {promised} bytes its header promises")


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".;") if lines else type(error).__name__
