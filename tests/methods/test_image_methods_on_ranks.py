"""Image-level methods on two ranks: the losses, gradients and queue of one process on the whole batch."""

import pytest
import torch

from medssl.engines.data_parallel import data_parallel
from medssl.methods.byol import BYOL
from medssl.methods.moco import MoCo
from medssl.methods.vicreg import VICReg
from medssl.networks.resnet import ResNet
from tests.ranks import on_ranks

WIDTHS = {
    "moco": (MoCo, {"embedding_channels": 8, "queue_size": 10}),
    "byol": (BYOL, {"hidden_channels": 16, "embedding_channels": 8}),
    "vicreg": (VICReg, {"expander_channels": 8}),
}


def train(rank, num_ranks):
    """The loss and the gradient of each method on this rank's part of a batch, and a queue after three steps."""
    results = {}
    for name, (make, widths) in WIDTHS.items():
        torch.manual_seed(0)
        method = make(ResNet(2, depth=10, base_channels=4), **widths)
        network = data_parallel(method) if num_ranks > 1 else method
        loss = network(batch_of(0, rank, num_ranks))["loss"]
        loss.backward()
        trained = [parameter.grad.flatten() for parameter in method.parameters() if parameter.requires_grad]
        results[name] = {"loss": loss.detach(), "gradient": torch.cat(trained)}
        if name == "moco":
            results["queue"] = queue_after_three_steps(network, method, rank, num_ranks)
    return results


def queue_after_three_steps(network, method, rank, num_ranks):
    for number in range(3):
        network(batch_of(number, rank, num_ranks))
        method.after_step(0.0)
    return method.queue.rows


def batch_of(number, rank, num_ranks):
    generator = torch.Generator().manual_seed(number)
    return {f"view_{i}": torch.rand(4, 1, 64, 64, generator=generator).chunk(num_ranks)[rank] for i in (1, 2)}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return on_ranks(train, 2, tmp_path_factory.mktemp("ranks"), 2), train(0, 1)


@pytest.mark.parametrize("name", WIDTHS)
def test_mean_loss_is_that_of_one_process(results, name):
    ranks, alone = results
    mean = torch.stack([rank[name]["loss"] for rank in ranks]).mean()
    torch.testing.assert_close(mean, alone[name]["loss"], rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", WIDTHS)
def test_gradient_is_that_of_one_process(results, name):
    ranks, alone = results
    expected = alone[name]["gradient"]
    for rank in ranks:
        assert (rank[name]["gradient"] - expected).norm() < 1e-4 * expected.norm()


def test_every_rank_has_the_queue_of_one_process(results):
    ranks, alone = results
    assert torch.equal(ranks[0]["queue"], ranks[1]["queue"])
    torch.testing.assert_close(ranks[0]["queue"], alone["queue"], rtol=0, atol=1e-4)
