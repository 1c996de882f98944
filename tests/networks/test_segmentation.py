import copy

import pytest
import torch

from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.networks.segmentation import SegmentationNetwork


@pytest.fixture
def network():
    backbone = FPN(2, base_channels=4, num_levels=2)
    return SegmentationNetwork(backbone, LinearHead(2, backbone.level_channels, 3), frozen=True)


def train_one_step(network):
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    network(torch.rand(2, 1, 8, 8)).square().mean().backward()
    optimizer.step()


def test_a_frozen_backbone_does_not_move_nor_do_its_batch_statistics(network):
    before = copy.deepcopy(network.state_dict())
    train_one_step(network)
    after = network.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("backbone."))
    assert not all(torch.equal(before[k], after[k]) for k in before if k.startswith("head."))


def test_an_unfrozen_backbone_moves_with_its_batch_statistics(network):
    network.set_frozen(False)
    before = copy.deepcopy(network.state_dict())
    train_one_step(network)
    after = network.state_dict()
    moved = [k for k in before if k.startswith("backbone.") and not torch.equal(before[k], after[k])]
    assert any("running_mean" in k for k in moved)
    assert any("weight" in k for k in moved)


def test_unfreezing_in_evaluation_mode_leaves_evaluation_mode(network):
    network.eval()
    network.set_frozen(False)
    assert not network.backbone.training


def test_scripted_network_gives_the_same_logits(network):
    network.eval()
    x = torch.rand(1, 1, 9, 7)
    torch.testing.assert_close(torch.jit.script(network)(x), network(x))
