import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from medssl.files import file_sha256, replacing, require_empty_folder, staging_folder, sweep_temporary, write_json
from tests.unprivileged import as_nobody


def test_an_error_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_keeps_the_suffix_and_folder(tmp_path):
    with replacing(tmp_path / "new" / "figure.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path / "new"
        temporary.touch()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "run.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "run.json", {"a": 2, "b": object()})
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


# A limit on the size of files is a full disk to whoever writes.
FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from medssl.runs.tensors import save_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
save_atomically({"a": torch.zeros(1_000_000)}, Path(sys.argv[1]))
"""


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, encoding="utf-8")
    assert "The disk is full" in done.stderr and str(path) in done.stderr
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "write", [lambda path: write_json(path, {}), lambda path: staging_folder(path.parent, last=path.name).__enter__()]
)
def test_a_folder_that_may_not_be_written_is_told_of_by_the_file(write):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        path = Path(folder) / "list.json"
        with as_nobody(), pytest.raises(PermissionError, match=rf"Permission denied: '{path}'$"):
            write(path)
        assert not list(Path(folder).iterdir())


def test_temporary_files_are_swept_and_no_others(tmp_path):
    (tmp_path / "below").mkdir()
    left = [".a.json.abcd1234.json", ".step=0000012.pt.sha256.k3v_9x2a.sha256"]
    kept = [".lock", ".a.json", ".a.json.abcd1234.txt", ".editor.settings", "a.json", "below/.a.json.abcd1234.json"]
    for name in left + kept:
        (tmp_path / name).touch()
    assert [path.name for path in sweep_temporary(tmp_path)] == left
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(kept)


def test_what_a_killed_writer_leaves_is_swept(tmp_path):
    code = (
        "import os, sys\nfrom medssl.files import replacing\n"
        "with replacing(sys.argv[1]) as temporary:\n    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "weights.pt"])
    assert len(list(tmp_path.iterdir())) == 1
    assert len(sweep_temporary(tmp_path)) == 1
    assert not list(tmp_path.iterdir())


def test_a_staged_folder_is_filled_at_the_end_with_the_list_last(tmp_path, monkeypatch):
    moved = []
    rename = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, target: moved.append(path.name) or rename(path, target))
    with staging_folder(tmp_path / "out", last="list.json") as staging:
        (staging / "scans").mkdir()
        for name in ("list.json", "scans/a.nii", "z.txt"):
            (staging / name).touch()
        assert [path for path in (tmp_path / "out").iterdir() if path != staging] == []
    assert moved == ["scans", "z.txt", "list.json"]
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["a.nii", "list.json", "scans", "z.txt"]


def test_an_error_leaves_a_staged_folder_as_it_was(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RuntimeError), staging_folder(tmp_path, last="list.json") as staging:
        (staging / "list.json").touch()
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_relative_staged_folder_outlives_a_change_of_the_working_folder(tmp_path, monkeypatch):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with staging_folder("out", last="list.json") as staging:
        monkeypatch.chdir(tmp_path / "there")
        (staging / "list.json").touch()
    assert [path.name for path in (tmp_path / "here" / "out").iterdir()] == ["list.json"]
    assert not list((tmp_path / "there").iterdir())


def test_a_folder_that_holds_something_is_not_empty(tmp_path):
    require_empty_folder(tmp_path / "missing", "slices")
    require_empty_folder(tmp_path, "slices")
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(FileExistsError, match=f"{path} is not empty; give a new folder for the slices"):
            require_empty_folder(path, "slices")


def test_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"medssl" * 1000)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(b"medssl" * 1000).hexdigest()
