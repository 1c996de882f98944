"""A running MONAI Label server."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(environment: Path, app: Path, studies: Path, options: Mapping[str, object], log: Path) -> Iterator[str]:
    """Give the address of a server on loopback, which ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["monailabel", "start_server", "--app", app, "--studies", studies]
    command += [text for key, value in options.items() for text in ("--conf", key, value)]
    command += ["--host", "127.0.0.1", "--port", port]
    # The launcher is a shell script that calls `python`.
    path = f"{environment / 'bin'}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        process = subprocess.Popen(
            list(map(str, command)), env=variables, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield wait_for(f"http://127.0.0.1:{port}", process, log)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def wait_for(url: str, process: subprocess.Popen, log: Path) -> str:
    """Give the address once the server answers."""
    for _ in range(240):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            urllib.request.urlopen(f"{url}/info/", timeout=5)
        except OSError:
            time.sleep(0.5)
        else:
            return url
    raise AssertionError(log.read_text(encoding="utf-8"))
