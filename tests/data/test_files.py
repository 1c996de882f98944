import json
import subprocess
import sys

import pytest

from medssl.data.files import replacing, write_json


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
from medssl.engines.run_folder import save_atomically
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
