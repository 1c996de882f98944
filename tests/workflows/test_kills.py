"""A small fixed part of ``benchmarks/campaigns/kills.py``: a command that was killed ends as an unbroken one."""

import json
import os
import random
import signal
import time

import psutil
import pytest

from tests.forked import Forked
from tests.killing_commands import COMMANDS, Campaign, Inputs

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["pretrain moco", "pretrain byol", "probe"])
def test_the_same_command_ends_as_if_it_had_never_been_killed(name, ct_list, pretrained, tmp_path):
    inputs = Inputs(ct_list, pretrained, plan=tmp_path, store=tmp_path)
    campaign = Campaign(COMMANDS[name], inputs, tmp_path / "runs", random.Random(1))
    campaign.run(2)
    assert (campaign.kills, campaign.differences) == (2, [])
    assert campaign.compared


def test_no_process_of_prepare_outlives_it(ct_list, tmp_path):
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    image = str(ct_list.parent / listed["unlabeled"][0]["image"])
    cases = [{"case": f"c{number}", "image": image} for number in range(200)]
    listed |= {"training": [], "validation": [], "test": [], "unlabeled": cases}
    (tmp_path / "list.json").write_text(json.dumps(listed), encoding="utf-8")
    words = [
        *COMMANDS["prepare"].words(Inputs(tmp_path / "list.json", *[tmp_path] * 3), tmp_path / "store"),
        "--processes",
        2,
    ]
    command = Forked(words, tmp_path / "log", tmp_path)
    while command.poll() is None and not any(tmp_path.glob("store/cases/*/*/case.json")):
        time.sleep(0.01)
    processes = psutil.Process(command.pid).children(recursive=True)
    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    assert len(processes) > 2
    assert psutil.wait_procs(processes, timeout=20)[1] == []
