"""The losses of image-level methods on two ranks: those of one process, in value and gradient."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from medssl.losses.queue_contrast import QueueContrastLoss
from medssl.losses.vicreg import VICRegLoss
from medssl.ops.spread import spread
from tests.ranks import on_ranks

QUEUE = nn.functional.normalize(torch.randn(9, 5, generator=torch.Generator().manual_seed(2)), dim=1)


def train(rank, lengths):
    """Losses and gradients of a network on this rank's part of the rows."""
    torch.manual_seed(1)
    network = nn.Linear(4, 10)
    model = network if len(lengths) == 1 else DistributedDataParallel(network)
    rows = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).split(lengths)[rank]
    results = {}
    for name, loss_of in {
        "vicreg": VICRegLoss(),
        "queue": lambda z1, z2: QueueContrastLoss()(z1, z2, QUEUE),
    }.items():
        network.zero_grad()
        z1, z2 = model(rows).chunk(2, dim=1)
        loss = loss_of(z1, z2)
        loss.backward()
        results[name] = {"loss": loss.detach(), "gradients": [p.grad.clone() for p in network.parameters()]}
    results["spread"] = spread(z1)
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return on_ranks(train, 2, tmp_path_factory.mktemp("ranks"), (5, 3))


def test_losses_and_averaged_gradients_are_those_of_one_process(results):
    alone = train(0, (8,))
    for result in results:
        for name in ("vicreg", "queue"):
            torch.testing.assert_close(result[name], alone[name])


def test_spread_is_that_of_all_rows(results):
    for result in results:
        torch.testing.assert_close(result["spread"], train(0, (8,))["spread"])
