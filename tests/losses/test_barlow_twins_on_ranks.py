"""Barlow Twins on two ranks: that of one process, in value and gradient."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from medssl.losses.barlow_twins import BarlowTwinsLoss
from tests.ranks import on_ranks


def train(rank, lengths):
    """Loss and gradients of a network on this rank's part of the rows."""
    torch.manual_seed(1)
    network = nn.Linear(4, 10)
    model = network if len(lengths) == 1 else DistributedDataParallel(network)
    rows = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).split(lengths)[rank]
    loss = BarlowTwinsLoss()(*model(rows).chunk(2, dim=1))
    loss.backward()
    return {"loss": loss.detach(), "gradients": [parameter.grad for parameter in network.parameters()]}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return on_ranks(train, 2, tmp_path_factory.mktemp("ranks"), (5, 3))


def test_loss_and_averaged_gradients_are_those_of_one_process(results):
    alone = train(0, (8,))
    for result in results:
        torch.testing.assert_close(result["loss"], alone["loss"])
        torch.testing.assert_close(result["gradients"], alone["gradients"], rtol=1e-4, atol=1e-5)
