"""A small fixed part of ``benchmarks/campaigns/no_space.py``: a full disk is one sentence; nothing is half written."""

import re

import pytest

from tests.killing_commands import Inputs
from tests.writing_commands import on_a_full_disk

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["slices", "report", "prepare", "pack"])
def test_a_full_disk_is_named_with_the_file_and_leaves_nothing(name, ct_list, pretrained, tmp_path):
    inputs = Inputs(ct_list, pretrained, plan=tmp_path / "plan.yaml", store=tmp_path)
    status, output, left = on_a_full_disk(name, inputs, tmp_path / "out")
    assert status == 1, output
    assert re.search(rf"The disk is full .*{tmp_path}/out/", output), output
    assert "Traceback" not in output
    assert left == []
