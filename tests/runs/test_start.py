import shutil
from pathlib import Path

import pytest

from medssl.runs.lock import locked_run_folder
from medssl.workflows.training import pretrain
from tests.tiny import PRETRAINING

SETTINGS = {**PRETRAINING, "max_epochs": 3}


def test_a_run_refused_for_a_bad_scan_leaves_its_folder_free(ct_list, tmp_path):
    data = Path(shutil.copytree(ct_list.parent, tmp_path / "data"))
    scan = sorted(data.glob("images/*"))[0]
    content = scan.read_bytes()
    scan.write_bytes(content[:500])
    with pytest.raises(ValueError, match=scan.name):
        pretrain("kats", data / ct_list.name, ["ct"], tmp_path / "run", overrides=SETTINGS)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    scan.write_bytes(content)
    pretrain("kats", data / ct_list.name, ["ct"], tmp_path / "run", overrides=SETTINGS)
    assert (tmp_path / "run" / "backbone.pt").is_file()


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_use_is_refused(ct_list, tmp_path, monkeypatch, resume):
    def taken(*_):
        raise OSError(11, "Resource temporarily unavailable")

    with locked_run_folder(tmp_path / "run"):
        monkeypatch.setattr("fcntl.lockf", taken)
        with pytest.raises(BlockingIOError, match=r"run is in use by process \d+"):
            pretrain("kats", ct_list, ["ct"], tmp_path / "run", overrides=SETTINGS, resume=resume)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
