import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from medssl.losses.info_nce import InfoNCELoss
from tests.ranks import on_ranks

NUM_PAIRS = {2: (13, 2), 3: (7, 1, 7)}
BLOCK_SIZES = [4, 512]


def loss_of(rows, block_size, temperature, dtype=None):
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        return InfoNCELoss(temperature, block_size)(*rows.chunk(2, dim=1))


def inputs():
    return torch.randn(15, 6, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(1)
    return nn.Linear(6, 10)


def train(rank, lengths):
    """The loss and the gradients of a network after a backward pass on this rank's part of the rows."""
    results = {}
    for block_size in BLOCK_SIZES:
        for temperature in (0.1, 0.005):
            for dtype in (None, torch.bfloat16):
                model = network() if len(lengths) == 1 else DistributedDataParallel(network())
                rows = inputs().split(lengths)[rank].requires_grad_()
                loss = loss_of(model(rows), block_size, temperature, dtype)
                loss.backward()
                gradients = [parameter.grad for parameter in model.parameters()]
                key = f"{block_size} {temperature} {dtype}"
                results[key] = {"loss": loss.detach(), "gradients": gradients, "rows": rows.grad / len(lengths)}
    return results


@pytest.fixture(scope="module", params=NUM_PAIRS)
def results(request, tmp_path_factory):
    lengths = NUM_PAIRS[request.param]
    return on_ranks(train, request.param, tmp_path_factory.mktemp("ranks"), lengths)


@pytest.fixture(scope="module")
def alone():
    return train(0, (15,))


def each(results, alone, dtype=None):
    for key, expected in alone.items():
        if key.endswith(str(dtype)):
            yield expected, [result[key] for result in results]


def test_every_rank_gives_the_loss_of_the_global_batch(results, alone):
    for expected, actual in each(results, alone):
        for result in actual:
            assert torch.equal(result["loss"], actual[0]["loss"])
            torch.testing.assert_close(result["loss"], expected["loss"], rtol=1e-6, atol=1e-6)


def test_averaged_gradients_of_a_network_are_those_of_one_process(results, alone):
    for expected, actual in each(results, alone):
        scale = max(gradient.abs().max().item() for gradient in expected["gradients"])
        for result in actual:
            torch.testing.assert_close(result["gradients"], expected["gradients"], rtol=0, atol=1e-6 * max(scale, 1))


def test_every_row_gets_its_gradient_whichever_rank_holds_it(results, alone):
    for expected, actual in each(results, alone):
        rows = torch.cat([result["rows"] for result in actual])
        torch.testing.assert_close(rows, expected["rows"], rtol=0, atol=1e-6 * max(rows.abs().max().item(), 1))


def test_bfloat16_tiles_give_the_same_on_any_number_of_ranks(results, alone):
    for expected, actual in each(results, alone, torch.bfloat16):
        rows = torch.cat([result["rows"] for result in actual])
        torch.testing.assert_close(actual[0]["loss"], expected["loss"], rtol=1e-3, atol=0)
        assert torch.cosine_similarity(rows.flatten(), expected["rows"].flatten(), dim=0) > 0.9999
