import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from medssl.runs.tensors import save_atomically


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "model.pt"
    save_atomically({"a": torch.ones(2)}, path)
    with pytest.raises(Exception, match="pickle"):
        save_atomically({"a": lambda: None}, path)
    assert torch.load(path, weights_only=True)["a"].tolist() == [1, 1]
    assert os.listdir(tmp_path) == ["model.pt"]


def test_equal_tensors_give_equal_bytes(tmp_path):
    for name in ("model.pt", "other.pt"):
        save_atomically({"a": torch.ones(2), "b": torch.zeros(3)}, tmp_path / name)
    assert (tmp_path / "model.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()


def test_killed_while_saving_leaves_a_whole_file(tmp_path):
    path = tmp_path / "model.pt"
    code = (
        "import torch\nfrom pathlib import Path\nfrom medssl.runs.tensors import save_atomically\n"
        f"while True:\n    save_atomically({{'a': torch.ones(300_000)}}, Path({str(path)!r}))\n    print(flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert torch.load(path, weights_only=True)["a"].sum() == 300_000
