"""Scans that change under a run, which has read them before its first step."""

import shutil
import time
from pathlib import Path

import pytest

from tests.forked import Forked
from tests.killing import differences
from tests.killing_commands import COMMANDS, Inputs

pytestmark = pytest.mark.slow


def test_a_run_ends_as_if_its_scans_had_not_changed(ct_list, tmp_path):
    shutil.copytree(ct_list.parent, tmp_path / "data")
    inputs = Inputs(tmp_path / "data" / ct_list.name, backbone=tmp_path, plan=tmp_path, store=tmp_path)
    runs = [tmp_path / "whole", tmp_path / "changed"]
    for run in runs:
        process = Forked(COMMANDS["pretrain kats"].words(inputs, run), run.with_suffix(".log"), tmp_path)
        while run.name == "changed" and process.poll() is None and not any(run.glob("checkpoints/step=*.pt")):
            time.sleep(0.01)
        if run.name == "changed":
            assert process.poll() is None
            for scan in Path(tmp_path / "data" / "images").iterdir():
                scan.write_bytes(b"changed")
        assert process.wait() == 0, process.output()
    assert differences(*(run / "backbone.pt" for run in runs)) == []
