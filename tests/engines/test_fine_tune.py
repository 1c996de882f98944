import copy
import math

import pytest
import torch
from ignite.engine import Engine, Events

from medssl.engines.fine_tune import KeepBest, UnfreezeBackbone, adam_with_backbone_group
from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.networks.segmentation import SegmentationNetwork


@pytest.fixture
def network():
    torch.manual_seed(0)
    backbone = FPN(2, base_channels=4, num_levels=2)
    return SegmentationNetwork(backbone, LinearHead(2, backbone.level_channels, 2), frozen=True)


def run_steps(network, optimizer, handler, num_steps):
    """Train for some steps and give the learning rates and the weights after each."""
    history = []

    def step(engine, _):
        network.train()
        optimizer.zero_grad()
        network(torch.rand(2, 1, 8, 8)).square().mean().backward()
        optimizer.step()
        rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
        history.append((rates, copy.deepcopy(network.state_dict())))

    engine = Engine(step)
    handler.attach(engine)
    engine.run(range(num_steps), max_epochs=1)
    return history


def moved(before, after, prefix):
    return any(not torch.equal(before[k], after[k]) for k in before if k.startswith(prefix))


def test_groups_hold_every_parameter_once(network):
    optimizer = adam_with_backbone_group(network, lr=1e-3)
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())


def test_backbone_rests_then_rises_exponentially_while_the_head_keeps_its_rate(network):
    optimizer = adam_with_backbone_group(network, lr=3e-4)
    handler = UnfreezeBackbone(network, optimizer, frozen_steps=2, rise_steps=4, lr_start=3e-5, lr_end=3e-4)
    history = run_steps(network, optimizer, handler, 8)
    rates = [r["backbone"] for r, _ in history]
    assert rates[:3] == [0, 0, 3e-5]
    assert rates[4] == pytest.approx(math.sqrt(3e-5 * 3e-4))
    assert rates[6:] == pytest.approx([3e-4, 3e-4])
    assert {r["head"] for r, _ in history} == {3e-4}
    assert not moved(history[0][1], history[1][1], "backbone.")
    assert moved(history[1][1], history[2][1], "backbone.")


def test_batch_statistics_rest_with_the_backbone(network):
    optimizer = adam_with_backbone_group(network, lr=3e-4)
    history = run_steps(network, optimizer, UnfreezeBackbone(network, optimizer, 2, 4), 3)
    name = next(k for k in history[0][1] if k.startswith("backbone.") and "running_mean" in k)
    assert torch.equal(history[0][1][name], history[1][1][name])
    assert not torch.equal(history[1][1][name], history[2][1][name])


def test_reference_schedule_changes_the_head_too(network):
    optimizer = adam_with_backbone_group(network, lr=3e-4)
    handler = UnfreezeBackbone(network, optimizer, 1, 4, lr_start=6e-5, lr_end=6e-5, head_lr_after=6e-5)
    rates = [r for r, _ in run_steps(network, optimizer, handler, 3)]
    assert rates[0]["head"] == 3e-4
    assert rates[1] == {"head": 6e-5, "backbone": pytest.approx(6e-5)}


def test_the_schedule_goes_on_after_the_optimizer_has_loaded_its_state(network):
    optimizer = adam_with_backbone_group(network, lr=3e-4)
    handler = UnfreezeBackbone(network, optimizer, frozen_steps=1, rise_steps=1, lr_end=0.5, head_lr_after=0.25)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    rates = [r for r, _ in run_steps(network, optimizer, handler, 3)]
    assert rates[2] == {"head": 0.25, "backbone": pytest.approx(0.5)}


def test_best_weights_are_kept_and_undefined_metrics_never_win(network, tmp_path):
    best = KeepBest(network, str(tmp_path / "model.pt"))
    metrics = iter([0.5, 0.7, 0.6, math.nan])
    validator = Engine(lambda engine, _: None)
    best.attach(validator)
    for bias in (1.0, 2.0, 3.0, 4.0):
        torch.nn.init.constant_(network.head.convs[-1].bias, bias)
        value = next(metrics)

        def set_metric(engine, value=value):
            engine.state.metrics = {"dice": value}
            engine.state.key_metric_name = "dice"

        handler = validator.add_event_handler(Events.EPOCH_STARTED, set_metric)
        validator.run([0])
        handler.remove()
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    assert saved["head.convs.1.bias"].tolist() == [2.0, 2.0]
    assert best.state_dict() == {"best": 0.7}
