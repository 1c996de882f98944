"""The learning rate of `--with warmup_cosine` rises, then falls along a half cosine."""

import pytest
import torch

from medssl.workflows.training import pretrain
from tests.tiny import PRETRAINING


def test_the_rate_follows_the_steps_of_the_run(ct_list, tmp_path):
    settings = {**PRETRAINING, "steps_per_epoch": 4, "checkpoint_every": 1, "warmup": 0.5, "learning_rate": 0.01}
    overrides = {**settings, "end_learning_rate": 0.002}
    pretrain("kats", ct_list, ["ct"], tmp_path / "run", layers=["warmup_cosine"], overrides=overrides)
    rates = [
        torch.load(path, weights_only=True)["optimizer"]["param_groups"][0]["lr"]
        for path in sorted((tmp_path / "run/checkpoints").glob("*.pt"))
    ]
    # Two steps of warm-up; then the start and the middle of the fall from 0.01 to 0.002.
    assert rates == pytest.approx([0.005, 0.01, 0.01, 0.006][-len(rates) :])
    assert len(rates) >= 2
