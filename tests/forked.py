"""Commands of medssl in processes that are forked from one that has imported torch and MONAI, which saves seconds."""

import os
import resource
import signal
import sys
import traceback
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.unprivileged import drop_capabilities

_FORKING = get_context("forkserver")
_FORKING.set_forkserver_preload(["tests.forked_imports"])


class Forked:
    """A command of medssl that runs, with what it prints in a file.

    Args:
        command: arguments of ``medssl``.
        log: file of its output and errors.
        cwd: its working folder.
        most: bytes of the largest file that it may write, which is a full disk to whoever writes; None: no limit.
        unprivileged: modes of files hold for it, even if it belongs to root.
    """

    def __init__(
        self, command: Sequence[Any], log: Path, cwd: Path, most: int | None = None, unprivileged: bool = False
    ) -> None:
        self.log = log
        words = [str(word) for word in command]
        # A process that is not daemonic may start others.
        self.process = _FORKING.Process(target=_run, args=(words, str(log), str(cwd), most, unprivileged))
        self.process.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        """Give the exit status once there is one; minus the number of the signal that ended it."""
        return self.process.exitcode

    def wait(self, timeout: float = 600) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"{self.log.read_text(encoding='utf-8')}\nThe command did not end.")
        return self.process.exitcode

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""


def _run(command: list[str], log: str, cwd: str, most: int | None, unprivileged: bool) -> None:
    # Before the log is there, which shows that the command has begun.
    from medssl.cli.app import main

    os.chdir(cwd)
    # Others of its group are its own, so that a signal to the group meets what a terminal would send it to.
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if most is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if unprivileged:
        drop_capabilities()
    sys.argv = ["medssl", *command]
    # A shell starts what runs in its background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    status: Any = 0
    try:
        main()
    except SystemExit as error:
        status = error.code or 0
    except BaseException:
        traceback.print_exc()
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    # Like the interpreter's own end: workers are joined by their handlers.
    sys.exit(status)
