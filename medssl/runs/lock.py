"""The lock of a run folder: one run at a time."""

import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

LOCK_NAME = ".lock"
# Long enough for the process that got the lock to write down who it is.
_SECONDS_TO_WRITE = 0.1
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

logger = logging.getLogger(__name__)


@contextmanager
def locked_run_folder(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Lock a run folder for this process for the length of a block; the folder is created if it is missing.

    The kernel holds the lock, on the file ``.lock``. It ends with the process, however that ends, so it is never stale,
    and processes that load data do not prolong it. The file says who holds the lock, and stays behind. On a file system
    without locks, a warning is logged instead.

    Args:
        folder: of the run.

    Raises:
        BlockingIOError: if another process holds the lock; names its number, host and start.

    Example:
        >>> import tempfile
        >>> with locked_run_folder(tempfile.mkdtemp() + "/run"):
        ...     pass
    """
    path = Path(folder) / LOCK_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        # A record lock: unlike a lock of flock, the processes that load data do not inherit it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            logger.warning("%s cannot be locked on this file system: start no second run in it.", path.parent)
            return
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        time.sleep(_SECONDS_TO_WRITE)
        raise BlockingIOError(
            f"{path.parent} is in use by {_owner(path)}. Wait for it to end, stop it, or choose another folder."
        ) from None
    owner = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(owner).encode(), 0)


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return f"process {owner['pid']} on {owner['host']}, started {owner['started']}"
    except (OSError, ValueError, KeyError):
        return "another process"
