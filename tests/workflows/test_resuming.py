"""A run that was killed and resumed ends as one that was not, to the bit."""

import signal
import time

import pytest
import torch

from tests.tiny import PRETRAINING, SEGMENTATION, arguments, start

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
    assert process.wait(timeout=60) == -signal.SIGKILL, process.communicate()
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


def require_equal(first, second):
    """Check that two files hold the same tensors and numbers, to the bit."""

    def flat(value, name=""):
        if isinstance(value, dict):
            return {key: leaf for k, v in value.items() for key, leaf in flat(v, f"{name}/{k}").items()}
        if isinstance(value, list):
            return flat(dict(enumerate(value)), name)
        return {name: value}

    leaves = [flat(torch.load(path, weights_only=True)) for path in (first, second)]
    assert leaves[0].keys() == leaves[1].keys()
    for name, value in leaves[0].items():
        same = torch.equal(value, leaves[1][name]) if isinstance(value, torch.Tensor) else value == leaves[1][name]
        assert same, name


def last_checkpoint(folder):
    return folder / "checkpoints" / f"step={PACE['steps_per_epoch'] * PACE['max_epochs']:07d}.pt"


@pytest.mark.parametrize("num_workers", [0, 1])
def test_pretraining(num_workers, ct_list, tmp_path):
    settings = {**PRETRAINING, **PACE, "num_workers": num_workers}
    command = ["pretrain", "kats", "--datalist", ct_list, "--data", "ct", *arguments(settings)]
    whole, broken = run_unbroken_and_killed(command, tmp_path)
    require_equal(whole / "backbone.pt", broken / "backbone.pt")
    require_equal(last_checkpoint(whole), last_checkpoint(broken))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_fine_tuning(num_workers, ct_list, pretrained, tmp_path):
    # The backbone is unfrozen before the kill, and its learning rate still rises after it.
    schedule = {"frozen_steps": 12, "rise_steps": 20, "learning_rate": 0.01, "backbone_lr_end": 0.01}
    settings = {**SEGMENTATION, **PACE, **schedule, "num_workers": num_workers}
    settings.pop("panel_every")
    options = ["--datalist", ct_list, "--data", "ct", "--backbone", pretrained]
    whole, broken = run_unbroken_and_killed(["finetune", *options, *arguments(settings)], tmp_path)
    require_equal(whole / "model.pt", broken / "model.pt")
    require_equal(last_checkpoint(whole), last_checkpoint(broken))
    best = torch.load(last_checkpoint(whole), weights_only=True)["best"]["best"]
    assert best > 0
