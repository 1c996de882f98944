"""A fixed part of ``benchmarks/campaigns/no_space.py``: a full or read-only disk is one sentence; nothing is left."""

import re

import pytest

from tests.killing_commands import Inputs
from tests.writing_commands import on_a_full_disk, on_a_read_only_disk

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["slices", "report", "prepare", "pack"])
def test_a_full_disk_is_named_with_the_file_and_leaves_nothing(name, ct_list, pretrained, tmp_path):
    inputs = Inputs(ct_list, pretrained, plan=tmp_path / "plan.yaml", store=tmp_path)
    status, output, left = on_a_full_disk(name, inputs, tmp_path / "out")
    assert status == 1, output
    assert re.search(rf"The disk is full .*{tmp_path}/out/", output), output
    assert "Traceback" not in output
    assert left == []


@pytest.mark.parametrize("name", ["folds", "prepare", "pretrain kats", "pack"])
def test_a_read_only_disk_is_named_and_leaves_nothing(name, ct_list, pretrained, tmp_path):
    inputs = Inputs(ct_list, pretrained, plan=tmp_path / "plan.yaml", store=tmp_path)
    status, output, left = on_a_read_only_disk(name, inputs, tmp_path / "out")
    assert status == 1, output
    assert re.search(rf"Error: .*Permission denied: '{tmp_path}/out", output), output
    assert "Traceback" not in output
    assert left == []
