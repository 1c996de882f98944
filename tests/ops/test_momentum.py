import pytest
import torch
from torch import nn

from medssl.ops.momentum import cosine_momentum, move_towards


def test_momentum_one_leaves_and_zero_copies():
    for momentum in (0.0, 1.0):
        average, module = nn.Linear(2, 2), nn.Linear(2, 2)
        expected = module.weight.clone() if momentum == 0 else average.weight.clone()
        move_towards(average, module, momentum)
        torch.testing.assert_close(average.weight, expected)


def test_networks_of_another_size_are_refused():
    with pytest.raises(ValueError):
        move_towards(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), 0.5)


def test_cosine_momentum_never_falls():
    values = torch.tensor([cosine_momentum(0.99, step / 100) for step in range(101)])
    assert (values.diff() >= 0).all() and values[0] == pytest.approx(0.99) and values[-1] == 1
