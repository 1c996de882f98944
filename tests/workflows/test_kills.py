"""A small fixed part of ``benchmarks/campaigns/kills.py``: a command that was killed ends as an unbroken one."""

import random

import pytest

from tests.killing_commands import COMMANDS, Campaign, Inputs

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["pretrain moco", "pretrain byol", "probe"])
def test_the_same_command_ends_as_if_it_had_never_been_killed(name, ct_list, pretrained, tmp_path):
    inputs = Inputs(ct_list, pretrained, plan=tmp_path, store=tmp_path)
    campaign = Campaign(COMMANDS[name], inputs, tmp_path / "runs", random.Random(1))
    campaign.run(2)
    assert (campaign.kills, campaign.differences) == (2, [])
    assert campaign.compared
