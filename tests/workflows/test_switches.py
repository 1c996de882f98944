"""Pretraining with the switches of a fast step: same files, same names, exact resumption, and a gate that holds."""

import re

import pytest
import torch

from medssl.workflows.training import pretrain
from tests.killing import differences, last_checkpoint, pretraining_command, run_with_kills, subprocess_result
from tests.tiny import PRETRAINING, start

ALL = {"amp": True, "channels_last": True, "activation_checkpointing": True}


def tensors_of(path):
    return torch.load(path, weights_only=True)


def test_weights_and_checkpoints_have_the_same_names_and_shapes_as_without(pretrained, ct_list, tmp_path):
    weights = pretrain("kats", ct_list, ["ct"], tmp_path / "run", overrides={**PRETRAINING, **ALL})
    for path in (weights, last_checkpoint(tmp_path / "run", 2)):
        plain = tensors_of(pretrained / path.relative_to(tmp_path / "run"))
        fast = tensors_of(path)
        assert fast.keys() == plain.keys()
    plain, fast = (tensors_of(last_checkpoint(folder, 2))["method"] for folder in (pretrained, tmp_path / "run"))
    assert {k: v.shape for k, v in fast.items()} == {k: v.shape for k, v in plain.items()}


def test_recomputing_changes_no_bit_of_a_run(pretrained, ct_list, tmp_path):
    overrides = {**PRETRAINING, "activation_checkpointing": True}
    weights = pretrain("kats", ct_list, ["ct"], tmp_path / "run", overrides=overrides)
    assert not differences(weights, pretrained / "backbone.pt")


def test_the_layer_fast_turns_on_bfloat16_and_channels_last(ct_list, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("medssl.speed.gate.multiplies_bfloat16", lambda device_type: True)
    with caplog.at_level("INFO"):
        pretrain("kats", ct_list, ["ct"], tmp_path / "run", layers=["fast"], overrides=PRETRAINING)
    assert re.search(r"Gradients with amp \+ channels_last: cosine (0\.99|1\.0)", caplog.text)


def test_a_run_with_wrong_gradients_ends_before_its_first_step(ct_list, tmp_path, monkeypatch):
    class Halved(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient / 2

    from medssl.speed.switches import Accelerated

    right = Accelerated.forward

    def wrong(self, batch):
        losses = right(self, batch)
        return {**losses, "loss": Halved.apply(losses["loss"])} if self.switches else losses

    monkeypatch.setattr(Accelerated, "forward", wrong)
    monkeypatch.setattr("medssl.speed.gate.multiplies_bfloat16", lambda device_type: True)
    with pytest.raises(ValueError, match=r"With amp, the gradients are not those of float32: .*--amp false"):
        pretrain("kats", ct_list, ["ct"], tmp_path / "run", overrides={**PRETRAINING, "amp": True})
    assert not (tmp_path / "run" / "backbone.pt").exists()
    assert not list((tmp_path / "run").glob("checkpoints/*.pt"))


@pytest.mark.slow
def test_a_fast_run_that_was_killed_ends_as_one_that_was_not(ct_list, tmp_path):
    steps = 15
    command = [*pretraining_command(ct_list, steps, num_workers=0), *(f"--{name}=true" for name in ALL)]
    unbroken = start(*command, "--out", tmp_path / "whole", cwd=tmp_path)
    run_with_kills(command, tmp_path / "broken", steps, kills=3, seed=0)
    assert subprocess_result(unbroken)[0] == 0
    for name in ("backbone.pt", f"checkpoints/step={steps:07d}.pt"):
        assert not differences(tmp_path / "whole" / name, tmp_path / "broken" / name)
