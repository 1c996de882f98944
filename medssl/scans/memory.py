"""Whether a scan fits in the memory at hand, asked before any of it is allocated."""

import math
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import SimpleITK as sitk

from medssl.scans.itk_headers import itk_header

_GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup")


class ScanTooLargeError(ValueError):
    """A scan does not fit in memory; the message names its file."""


def free_memory() -> int:
    """Bytes that this process can still use: those available, or what a container's limit or ``ulimit -v`` leaves.

    Example:
        >>> free_memory() > 0
        True
    """
    return min(psutil.virtual_memory().available, _left_in_container(), _left_to_process())


def require_memory(path: str | os.PathLike[str], needed: int) -> None:
    """Require that memory for a scan is free.

    Args:
        path: file of the scan.
        needed: bytes, as its header promises.

    Raises:
        ScanTooLargeError: if there is less; names the file and both sizes.

    Example:
        >>> require_memory("scan.nii.gz", 10**15)
        Traceback (most recent call last):
        medssl.scans.memory.ScanTooLargeError: scan.nii.gz needs 931322.57 GiB ...
    """
    # What is small is not worth a look at the system.
    if needed > _GIB // 8 and needed > (free := free_memory()):
        raise ScanTooLargeError(
            f"{path} needs {needed / _GIB:.2f} GiB of memory by its header, and {free / _GIB:.2f} GiB are free; check "
            "the file, crop it, or use a machine with more memory."
        )


def itk_bytes(path: str | os.PathLike[str]) -> int:
    """Bytes of the voxels that SimpleITK's header of a file promises.

    Args:
        path: file, such as one slice of a DICOM series.

    Raises:
        RuntimeError, ValueError: if SimpleITK cannot read the header, or would end the process over it.
    """
    reader = itk_header(path)
    pixel = sitk.Image([1] * reader.GetDimension(), reader.GetPixelID())
    return math.prod(reader.GetSize()) * reader.GetNumberOfComponents() * pixel.GetSizeOfPixelComponent()


@contextmanager
def naming_memory(path: object) -> Iterator[None]:
    """Turn a ``MemoryError`` in the block into a `ScanTooLargeError` that names the file."""
    try:
        yield
    except MemoryError as error:
        raise ScanTooLargeError(
            f"{path} does not fit in memory; check the file, crop it, or use a machine with more memory."
        ) from error


def _left_to_process() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return 2**63 if limit == resource.RLIM_INFINITY else limit - psutil.Process().memory_info().vms


def _left_in_container() -> int:
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        statistics = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        # The system takes back what only caches files.
        return limit - used + int(statistics.get("inactive_file", 0))
    except (OSError, ValueError):
        # There is no limit ("max"), or the system has no such files.
        return 2**63
