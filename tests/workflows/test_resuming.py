"""A run that was killed and resumed ends as one that was not, to the bit."""

import signal
import time

import pytest
import torch

from tests.killing import differences, last_checkpoint, pretraining_command, run_with_kills
from tests.tiny import SEGMENTATION, arguments, start

pytestmark = pytest.mark.slow
PACE = {"steps_per_epoch": 5, "max_epochs": 10, "checkpoint_every": 3, "panel_every": 50}
KILL_AFTER = 17


def kill_after_step(process, folder, step):
    """Kill a training process with SIGKILL once it has written the checkpoint of a step, or of a later one."""
    while process.poll() is None:
        done = [int(path.stem.removeprefix("step=")) for path in folder.glob("checkpoints/step=*.pt")]
        if max(done, default=0) >= step:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    assert process.wait(timeout=300) == -signal.SIGKILL, process.communicate()
    process.communicate()


def require_success(process):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def run_unbroken_and_killed(command, tmp_path):
    """Give the folders of a run in one go and of one that was killed with SIGKILL and resumed."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = start(*command, "--out", whole, cwd=tmp_path)
    kill_after_step(start(*command, "--out", broken, cwd=tmp_path), broken, KILL_AFTER)
    assert '"finished": null' in (broken / "run.json").read_text(encoding="utf-8")
    require_success(start(*command, "--out", broken, "--resume", cwd=tmp_path))
    require_success(unbroken)
    return whole, broken


@pytest.mark.parametrize("num_workers", [0, 1])
def test_pretraining_killed_ten_times_and_started_with_the_same_command(num_workers, ct_list, tmp_path):
    steps, kills = 120, 10
    command = pretraining_command(ct_list, steps, num_workers)
    unbroken = start(*command, "--out", tmp_path / "whole", cwd=tmp_path)
    counts = run_with_kills(command, tmp_path / "broken", steps, kills, seed=num_workers)
    require_success(unbroken)
    assert sum(counts[moment] for moment in ("start-up", "steps", "saving", "end")) == kills
    assert counts["within a save"] > 0
    for name in ("backbone.pt", f"checkpoints/step={steps:07d}.pt"):
        assert not differences(tmp_path / "whole" / name, tmp_path / "broken" / name)
    assert not list((tmp_path / "broken").rglob(".*.????????.*"))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_fine_tuning(num_workers, ct_list, pretrained, tmp_path):
    settings = {**SEGMENTATION, **PACE, "learning_rate": 0.01, "num_workers": num_workers}
    settings.pop("panel_every")
    options = ["--datalist", ct_list, "--data", "ct", "--backbone", pretrained]
    whole, broken = run_unbroken_and_killed(["finetune", *options, *arguments(settings)], tmp_path)
    steps = PACE["steps_per_epoch"] * PACE["max_epochs"]
    assert not differences(whole / "model.pt", broken / "model.pt")
    assert not differences(last_checkpoint(whole, steps), last_checkpoint(broken, steps))
    best = torch.load(last_checkpoint(whole, steps), weights_only=True)["best"]["best"]
    assert best > 0
