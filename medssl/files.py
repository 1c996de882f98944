"""Writing files so that a reader never meets half of one, even after a kill or on a full disk."""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What `replacing` calls its temporary files: a dot, the name, eight characters, and the suffix of the name once more.
_TEMPORARY = re.compile(r"\..+(\.[^.]+)\.[a-z0-9_]{8}\1")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place when the block ends without an error.

    The temporary file is flushed to the disk before it is renamed, so a kill or a power cut leaves the former file or
    the new one. Its name keeps the suffix, from which writers infer the format, and starts with a dot. Missing folders
    are made. Of two writers at once, the last one wins.

    Args:
        path: the file to write.

    Raises:
        OSError: if the disk is full; the message names the file and the free space, and the former file stays.

    Example:
        >>> target = Path(tempfile.mkdtemp()) / "table.csv"
        >>> with replacing(target) as temporary:
        ...     _ = temporary.write_text("a,b")
        >>> target.read_text(encoding="utf-8"), len(list(target.parent.iterdir()))
        ('a,b', 1)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        _flush(path.parent)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        if is_disk_full(error, path):
            free = shutil.disk_usage(path.parent).free / 2**20
            raise OSError(
                errno.ENOSPC, f"The disk is full ({free:.0f} MiB free); free some space. Not written", str(path)
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write a JSON file, whole or not at all.

    The file is ASCII, so that readers that take the encoding of the locale, such as MONAI's, read it everywhere.

    Args:
        path: the file to write.
        content: what JSON can hold.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def sweep_temporary(folder: str | os.PathLike[str]) -> list[Path]:
    """Delete the temporary files of `replacing` in a folder, which a killed writer leaves behind; give their paths.

    Only files whose name has a suffix are known for temporary ones. Call it only where nobody else writes. Folders
    below are left alone.

    Args:
        folder: may be missing.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in (".table.csv.k3v_9x2a.csv", ".hidden", "table.csv"):
        ...     (folder / name).touch()
        >>> [path.name for path in sweep_temporary(folder)], len(list(folder.iterdir()))
        (['.table.csv.k3v_9x2a.csv'], 2)
    """
    found = [path for path in sorted(Path(folder).glob(".*")) if path.is_file() and _TEMPORARY.fullmatch(path.name)]
    for path in found:
        path.unlink(missing_ok=True)
    return found


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Give the SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Example:
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     file_sha256(file.name)[:8]
        'e3b0c442'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_disk_full(error: BaseException, path: Path) -> bool:
    """Tell whether writing a file failed for want of space; torch hides the reason in a RuntimeError."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return "unexpected pos" in str(error) or "PytorchStreamWriter" in str(error)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
