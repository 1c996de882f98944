"""Files and folders that a reader finds whole or not at all, even after a kill or on a full disk."""

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

# The start of the name of every folder that `staging_folder` makes.
STAGING = ".staging-"
_LARGEST_JSON = 64 * 2**20
_FULL = "The disk is full"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# How `replacing` names its temporary files: a dot, the name, eight characters, and the suffix of the name again.
_TEMPORARY = re.compile(r"\..+(\.[^.]+)\.[a-z0-9_]{8}\1")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends without an error.

    The temporary file is flushed to the disk before it is renamed, so a kill or a power cut leaves either the old file
    or the new one. Its name starts with a dot and keeps the suffix, from which writers infer the format. Missing
    folders are created. If two writers work at once, the last one wins.

    Args:
        path: the file to write.

    Raises:
        OSError: if the disk is full or the folder may not be written; the message names the file, and the old file
            stays.

    Example:
        >>> target = Path(tempfile.mkdtemp()) / "table.csv"
        >>> with replacing(target) as temporary:
        ...     _ = temporary.write_text("a,b")
        >>> target.read_text(encoding="utf-8"), len(list(target.parent.iterdir()))
        ('a,b', 1)
    """
    path = Path(path)
    with _telling_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        flush(path.parent)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        _raise_disk_full(error, path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def staging_folder(folder: str | os.PathLike[str], last: str) -> Iterator[Path]:
    """Yield a temporary folder whose content moves into the folder around it when the block ends without an error.

    ``last`` moves last. Name the entry by which readers know the rest, such as the list of the files: a folder that
    holds it is whole. An error leaves nothing; a kill can leave a hidden folder whose name starts with `STAGING`.

    Args:
        folder: created if it is missing. The path yielded is absolute: it survives a change of the working folder.
        last: name of a file or folder that the block writes.

    Raises:
        FileExistsError, OSError: if something of the same name is in the way.

    Example:
        >>> target = Path(tempfile.mkdtemp()) / "scans"
        >>> with staging_folder(target, last="list.json") as staging:
        ...     for name in ("a.nii", "list.json"):
        ...         (staging / name).touch()
        >>> sorted(path.name for path in target.iterdir())
        ['a.nii', 'list.json']
    """
    folder = Path(folder).absolute()
    with _telling_of(folder / last):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=STAGING, dir=folder)
    with temporary as name:
        staging = Path(name)
        try:
            yield staging
        except (OSError, RuntimeError) as error:
            _raise_disk_full(error, folder / last)
            raise
        for path in sorted(staging.iterdir(), key=lambda path: (path.name == last, path.name)):
            path.replace(folder / path.name)


def require_empty_folder(folder: Path, content: str) -> None:
    """Check that a folder is missing or empty, so that nothing of the user's gets mixed with what will be written.

    Args:
        folder: where something is about to be written.
        content: what will be written, for the message.

    Raises:
        FileExistsError: if it holds something, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty; give a new folder for the {content}, or empty this one.")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write a JSON file, whole or not at all.

    The file is ASCII, so that readers that assume the encoding of the locale, as MONAI does, can read it anywhere.

    Args:
        path: the file to write.
        content: anything that JSON can hold.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_object(path: str | os.PathLike[str], advice: str = "correct the path") -> dict[str, Any]:
    """The content of a JSON file that holds one object.

    Args:
        path: the file, of at most 64 MiB.
        advice: what to do if it is missing.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, too large, or holds anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} holds no {path.name}; {advice}.")
    if path.stat().st_size > _LARGEST_JSON:
        raise ValueError(f"{path} is too large ({path.stat().st_size} bytes); copy the folder again.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}); copy the folder again.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged (it holds no settings); copy the folder again.")
    return content


def sweep_temporary(folder: str | os.PathLike[str]) -> list[Path]:
    """Delete the temporary files that killed writers left in a folder, and return their paths.

    Only files of `replacing` whose name has a suffix are recognised. Call it only where nobody else is writing.
    Subfolders are left alone.

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
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits.

    Example:
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     file_sha256(file.name)[:8]
        'e3b0c442'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: str | os.PathLike[str]) -> None:
    """Wait until the content of a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_disk_full(error: BaseException, path: Path) -> bool:
    """Tell whether a write failed because the disk is full; torch and MONAI hide the reason in a RuntimeError."""
    if isinstance(error, OSError):
        return error.errno in _NO_SPACE
    hints = ("unexpected pos", "PytorchStreamWriter", *(f"[Errno {number}]" for number in _NO_SPACE))
    return any(hint in str(error) for hint in hints)


def _raise_disk_full(error: BaseException, path: Path) -> None:
    """Raise an error that names the file and the free space if a write failed because the disk is full."""
    if is_disk_full(error, path) and _FULL not in str(error):
        free = shutil.disk_usage(path.parent).free / 2**20
        text = f"{_FULL} ({free:.0f} MiB free); free some space. Not written"
        raise OSError(errno.ENOSPC, text, str(path)) from error


@contextmanager
def _telling_of(path: Path) -> Iterator[None]:
    """Tell of the file that is to be written where its folder or its temporary file cannot be made."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
