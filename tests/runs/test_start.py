import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medssl.runs.lock import locked_run_folder
from medssl.runs.start import begin_run
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


def test_one_switch_uses_a_bad_scan_and_the_record_keeps_it(ct_list, tmp_path):
    data = Path(shutil.copytree(ct_list.parent, tmp_path / "data"))
    scan = sorted(data.glob("images/*"))[0]
    image = nib.load(scan)
    nib.save(nib.Nifti1Image(np.full(image.shape, 40, np.int16), image.affine), scan)
    settings = {**SETTINGS, "max_epochs": 1}
    with pytest.raises(ValueError, match=rf"{scan.name} cannot be used: all its voxels are 40"):
        pretrain("kats", data / ct_list.name, ["ct"], tmp_path / "run", overrides=settings)
    settings["allow_bad_values"] = True
    pretrain("kats", data / ct_list.name, ["ct"], tmp_path / "run", overrides=settings)
    assert json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))["allow_bad_values"] is True


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_use_is_refused(ct_list, tmp_path, monkeypatch, resume):
    def taken(*_):
        raise OSError(11, "Resource temporarily unavailable")

    with locked_run_folder(tmp_path / "run"):
        monkeypatch.setattr("fcntl.lockf", taken)
        with pytest.raises(BlockingIOError, match=r"run is in use by process \d+"):
            pretrain("kats", ct_list, ["ct"], tmp_path / "run", overrides=SETTINGS, resume=resume)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


@pytest.mark.parametrize("left", ["run.json", "config.json", "checkpoints/.step=0000003.pt.k3v_9x2a.pt"])
def test_a_start_whose_files_were_half_cleared_away_when_it_was_killed_starts_anew(left, ct_list, tmp_path):
    settings = {**SETTINGS, "max_epochs": 1}
    whole = pretrain("kats", ct_list, ["ct"], tmp_path / "whole", overrides=settings).parent
    path = tmp_path / "run" / left
    path.parent.mkdir(parents=True)
    path.write_bytes((whole / left).read_bytes() if (whole / left).is_file() else b"half a checkp")
    config, record = json.loads((whole / "config.json").read_text()), json.loads((whole / "run.json").read_text())
    begin_run(tmp_path / "run", config, record, resume=True, allow_changed=False)
    assert config["resume_from"] is None
    assert sorted(p.name for p in (tmp_path / "run").rglob("*") if p.is_file()) == ["config.json", "run.json"]
