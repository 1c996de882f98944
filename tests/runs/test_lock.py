import json
import os
import re
import signal
import subprocess
import sys

import pytest

from medssl.runs.lock import locked_run_folder

HOLD = """
import sys, time
from medssl.runs.lock import locked_run_folder
with locked_run_folder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""
# All race from the moment a file appears; the winner keeps the lock until all the others have lost.
RACE = """
import os, sys, time
from pathlib import Path
from medssl.runs.lock import locked_run_folder
folder = Path(sys.argv[1])

def race():
    while not (folder / "go").exists():
        pass
    try:
        with locked_run_folder(folder / "run"):
            while len(list(folder.glob("lost.*"))) < 11:
                time.sleep(0.005)
            os._exit(0)
    except BlockingIOError:
        (folder / f"lost.{os.getpid()}").touch()
        os._exit(1)

children = [os.fork() or race() for _ in range(12)]
(folder / "go").touch()
print(sum(os.waitpid(child, 0)[1] == 0 for child in children))
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_refused_and_told_of_the_first(holder, tmp_path):
    owner = json.loads((tmp_path / "run" / ".lock").read_text(encoding="utf-8"))
    message = f"run is in use by process {holder.pid} on {owner['host']}, started {owner['started']}"
    with pytest.raises(BlockingIOError, match=re.escape(message)), locked_run_folder(tmp_path / "run"):
        pass


def test_the_lock_of_a_killed_process_is_free(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked_run_folder(tmp_path / "run"):
        assert f'"pid": {os.getpid()}' in (tmp_path / "run" / ".lock").read_text(encoding="utf-8")


def test_the_file_that_another_host_left_locks_nothing(tmp_path):
    (tmp_path / "run").mkdir()
    left = {"pid": 1, "host": "another", "started": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "run" / ".lock").write_text(json.dumps(left), encoding="utf-8")
    with locked_run_folder(tmp_path / "run"):
        owner = json.loads((tmp_path / "run" / ".lock").read_text(encoding="utf-8"))
    assert owner["pid"] == os.getpid() and owner["host"] != "another"


def test_the_lock_ends_with_the_block(tmp_path):
    for _ in range(2):
        with locked_run_folder(tmp_path):
            pass


def test_a_process_that_loads_data_does_not_prolong_the_lock(tmp_path):
    read, write = os.pipe()
    with locked_run_folder(tmp_path):
        child = os.fork()
        if child == 0:
            os.read(read, 1)
            os._exit(0)
    done = subprocess.run([sys.executable, "-c", HOLD.replace("60", "0"), tmp_path], capture_output=True)
    os.write(write, b".")
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)
    assert done.returncode == 0, done.stderr


def test_of_twelve_at_once_one_wins(tmp_path):
    done = subprocess.run([sys.executable, "-c", RACE, tmp_path], capture_output=True, timeout=300)
    assert done.stdout == b"1\n", done.stderr


def test_without_locks_a_warning_is_logged(tmp_path, monkeypatch, caplog):
    def unsupported(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.lockf", unsupported)
    with locked_run_folder(tmp_path):
        assert "cannot be locked" in caplog.text
