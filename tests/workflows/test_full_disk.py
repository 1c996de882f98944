"""A full disk ends a command with a message; what was there stays whole, and the run goes on once there is space."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medssl.runs.checkpoints import list_checkpoints, newest_whole_checkpoint
from medssl.workflows.training import pretrain
from tests.killing import differences
from tests.tiny import PRETRAINING, arguments

pytestmark = pytest.mark.slow
SETTINGS = {**PRETRAINING, "max_epochs": 4}
# A limit on the size of files is a full disk to whoever writes.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from medssl.cli.app import main
main()
"""
SMALL_DISK = """
mount -t tmpfs -o size=1200k tmpfs disk && cd disk
{command}
status=$?
cp -r run ../run
exit $status
"""


@pytest.fixture(scope="module")
def whole(ct_list, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    pretrain("kats", ct_list, ["ct"], folder, overrides=SETTINGS)
    return folder


def finished(command, folder=None):
    """Give the exit status and the errors of a command."""
    # As many threads as this process has, so that a run which goes on here agrees to the bit.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    return done.returncode, done.stderr


def run_limited(limit, *command):
    """Run a command of medssl that may write no file of more bytes; give its exit status and errors."""
    return finished([sys.executable, "-c", LIMITED, str(limit), *map(str, command)])


def temporary_files(folder):
    return list(folder.rglob(".*.????????.*"))


def test_while_saving_a_checkpoint(whole, ct_list, tmp_path):
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    (run / "backbone.pt").unlink()
    for path in run.glob("checkpoints/step=0000008.pt*"):
        path.unlink()
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps({**record, "finished": None}))
    common = ("pretrain", "kats", "--datalist", ct_list, "--data", "ct", "--out", run, "--resume")
    status, errors = run_limited(100_000, *common, *arguments(SETTINGS))
    assert status == 1
    assert "Error: " in errors and "The disk is full" in errors and "step=0000008.pt" in errors
    assert [path.name for path in list_checkpoints(run / "checkpoints")] == ["step=0000006.pt"]
    assert not temporary_files(run)
    status, errors = run_limited(2**30, *common, *arguments(SETTINGS))
    assert status == 0, errors
    assert not differences(whole / "backbone.pt", run / "backbone.pt")


def test_while_saving_what_comes_first(ct_list, tmp_path):
    common = ("pretrain", "kats", "--datalist", ct_list, "--data", "ct", "--out", tmp_path / "run")
    status, errors = run_limited(1000, *common, *arguments(SETTINGS))
    assert status == 1
    assert "The disk is full" in errors and "config.json" in errors
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == [".lock"]


def test_while_evaluating(probed, tmp_path):
    run = Path(shutil.copytree(probed, tmp_path / "run"))
    (run / "rows.jsonl").write_text("former rows")
    status, errors = run_limited(1000, "evaluate", run)
    assert status == 1
    assert "The disk is full" in errors
    assert (run / "rows.jsonl").read_text(encoding="utf-8") == "former rows"
    assert not temporary_files(run)


def test_on_a_small_disk(whole, ct_list, tmp_path):
    """Room for two checkpoints, not for the third beside them."""
    private = ["unshare", "--user", "--map-root-user", "--mount"]
    (tmp_path / "disk").mkdir()
    if shutil.which("unshare") is None or finished([*private, "mount", "-t", "tmpfs", "tmpfs", "disk"], tmp_path)[0]:
        pytest.skip("a file system in memory cannot be mounted here")
    options = ["--datalist", ct_list, "--data", "ct", "--out", "run", "--resume", *arguments(SETTINGS)]
    code = [sys.executable, "-c", "from medssl.cli.app import main; main()", "pretrain", "kats", *map(str, options)]
    script = SMALL_DISK.format(command=" ".join(f"'{word}'" for word in code))
    status, errors = finished([*private, "bash", "-c", script], tmp_path)
    assert status == 1, errors
    assert "The disk is full" in errors and "checkpoints/step=0000006.pt" in errors
    newest, damaged = newest_whole_checkpoint(tmp_path / "run" / "checkpoints")
    assert (newest.name, damaged) == ("step=0000004.pt", [])
    assert not temporary_files(tmp_path / "run")
    pretrain("kats", ct_list, ["ct"], tmp_path / "run", overrides=SETTINGS, resume=True)
    assert not differences(whole / "backbone.pt", tmp_path / "run" / "backbone.pt")
