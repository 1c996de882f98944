"""Contrast by weak labels over the images of all ranks."""

import pytest
import torch

from medssl.losses.neighbour_contrast import NeighbourContrastLoss
from medssl.losses.position_contrast import PositionContrastLoss
from tests.ranks import on_ranks

LENGTHS = (5, 2)


def train(rank, lengths):
    """The losses and the gradients of the rows of this rank."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(7, 8, generator=generator).split(lengths)[rank].requires_grad_()
    positions = torch.rand(7, 1, generator=generator).split(lengths)[rank]
    position = PositionContrastLoss(0.1, threshold=0.3)(*rows.chunk(2, dim=1), positions)
    neighbour = NeighbourContrastLoss(0.1)(*rows.chunk(2, dim=1))
    (position + neighbour).backward()
    losses = torch.stack([position, neighbour]).detach()
    return {"losses": losses, "rows": rows.grad / len(lengths)}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return on_ranks(train, 2, tmp_path_factory.mktemp("ranks"), LENGTHS)


def test_every_rank_gives_the_losses_of_the_global_batch(results):
    for result in results:
        torch.testing.assert_close(result["losses"], train(0, (7,))["losses"])


def test_every_row_gets_its_gradient_whichever_rank_holds_it(results):
    rows = torch.cat([result["rows"] for result in results])
    torch.testing.assert_close(rows, train(0, (7,))["rows"], rtol=0, atol=1e-5)
