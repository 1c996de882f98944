"""A running MONAI Label server, and the client of its 3D Slicer plugin."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def serving_bundles(environment: Path, bundles: Sequence[Path], studies: Path, work: Path) -> Iterator[str]:
    """Serve several bundles with the app that MONAI Label ships; yields the address.

    App and log go to their own folder.
    """
    app = work / "monaibundle"
    shutil.copytree(environment / "monailabel" / "sample-apps" / "monaibundle", app)
    for bundle in bundles:
        shutil.copytree(bundle, app / "model" / bundle.name)
    models = ",".join(bundle.name for bundle in bundles)
    options = {"models": models, "zoo_source": "ngc", "skip_trainers": "true", "sam2": "false"}
    with serving(environment, app, studies, options, work / "server.log") as url:
        yield url


def asked(environment: Path, client: Path, *arguments: object) -> dict[str, Any]:
    """Run a script that uses the plugin's client; return what it prints."""
    library = environment / "monailabel" / "plugins" / "slicer" / "MONAILabel" / "MONAILabelLib"
    command = [environment / "bin" / "python", "-W", "ignore", client, library, *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, encoding="utf-8", timeout=1200)
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWERED ")]
    assert lines, done.stdout + done.stderr
    return json.loads(lines[0].removeprefix("ANSWERED "))


@contextmanager
def serving(environment: Path, app: Path, studies: Path, options: Mapping[str, object], log: Path) -> Iterator[str]:
    """Start a server on loopback, stopped at the end of the block; yields the address."""
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
    """Wait until the server answers; return its address."""
    for _ in range(240):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            urllib.request.urlopen(f"{url}/info/", timeout=5)
        except OSError:
            time.sleep(0.5)
        else:
            return url
    raise AssertionError(log.read_text(encoding="utf-8"))
