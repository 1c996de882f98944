from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from medssl.losses import info_nce
from medssl.losses.info_nce import InfoNCELoss
from tests.ranks import on_ranks

NUM_PAIRS = {2: (13, 2), 3: (7, 1, 7)}
BLOCK_SIZES = [4, 512]
ROUNDOFF = 2.0**-24  # of float32


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
                results[key] = {
                    "temperature": temperature,
                    "loss": loss.detach(),
                    "gradients": gradients,
                    "rows": rows.grad / len(lengths),
                }
    return results


def train_without_tiles_of_rank_1(rank, lengths):
    """The same, but the gradients that rank 1 finds in its tiles never reach the sum over ranks."""
    whole = info_nce.sum_over_ranks
    # The forward pass sums one number a row, the backward pass one embedding a row.
    with mock.patch.object(info_nce, "sum_over_ranks", lambda x: whole(x * (rank != 1) if x.dim() == 2 else x)):
        return train(rank, lengths)


def errors(temperature):
    """The most by which float32 may move the loss, the gradient of a parameter and that of a row.

    These are bounds for any order of the sums, so for any CPU and number of ranks. With the unit roundoff u, N pairs of
    C channels and the temperature t, to first order in u:

    - A similarity is at most 1 / t. It sums C products of two rows, each divided by its norm, a root of C squares: it
      is off by e = (2C + 4) u / t.
    - The loss is the logarithm of a sum of 2N exponentials, less a similarity: off by 2e + 2N u.
    - A softmax weight is off by 2e of itself, and sums of 2N such terms, C channels and 6 inputs add (2N + C + 6) u.
      This is the share by which a gradient is off, of the sum of the magnitudes of its terms.
    - The weights of a row sum to 4 / 2N at most: as an anchor, and as the partner or negative of others. They multiply
      rows of length t ** -0.5, whose own division by their norm, times t ** -0.5, the gradient then passes: the terms
      of an output sum to 4 / (2N t norm). The linear layer passes them on to its parameters and inputs.
    """
    with torch.no_grad():
        layer, x = network(), inputs()
        outputs = layer(x)
        count, channels = len(x), outputs.shape[1] // 2
        similarity = (2 * channels + 4) * ROUNDOFF / temperature
        norms = torch.cat([half.norm(dim=1, keepdim=True).expand_as(half) for half in outputs.chunk(2, dim=1)], dim=1)
        terms = 4 / (2 * count * temperature * norms)
        of_parameters = max((terms.T @ x.abs()).max().item(), terms.sum(0).max().item())
        of_rows = (terms @ layer.weight.abs()).max().item()
    share = 2 * similarity + (2 * count + channels + 6) * ROUNDOFF
    return 2 * similarity + 2 * count * ROUNDOFF, share * of_parameters, share * of_rows


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
            # Both computations err.
            tolerance = 2 * errors(expected["temperature"])[0]
            torch.testing.assert_close(result["loss"], expected["loss"], rtol=0, atol=tolerance)


def of_parameters(result):
    return torch.cat([gradient.flatten() for gradient in result["gradients"]])


def furthest(expected, actual):
    """How far gradients of parameters and rows are from those of one process, in parts of what float32 allows."""
    _, parameter_error, row_error = errors(expected["temperature"])
    parameters = max((of_parameters(result) - of_parameters(expected)).abs().max() for result in actual)
    rows = (torch.cat([result["rows"] for result in actual]) - expected["rows"]).abs().max()
    return parameters.item() / (2 * parameter_error), rows.item() / (2 * row_error)


def test_averaged_gradients_of_a_network_are_those_of_one_process(results, alone):
    assert all(furthest(expected, actual)[0] <= 1 for expected, actual in each(results, alone))


def test_every_row_gets_its_gradient_whichever_rank_holds_it(results, alone):
    assert all(furthest(expected, actual)[1] <= 1 for expected, actual in each(results, alone))


def test_gradients_without_the_tiles_of_a_rank_are_beyond_the_errors_of_float32(alone, tmp_path):
    broken = on_ranks(train_without_tiles_of_rank_1, 3, tmp_path, NUM_PAIRS[3])
    # Blocks of 512 hold all rows: every rank then computes the whole, and there is nothing to leave out.
    tiled = {key: value for key, value in alone.items() if key.startswith("4 ")}
    assert all(min(furthest(expected, actual)) > 10 for expected, actual in each(broken, tiled))


def test_bfloat16_tiles_give_the_same_on_any_number_of_ranks(results, alone):
    for expected, actual in each(results, alone, torch.bfloat16):
        rows = torch.cat([result["rows"] for result in actual])
        torch.testing.assert_close(actual[0]["loss"], expected["loss"], rtol=1e-3, atol=0)
        assert torch.cosine_similarity(rows.flatten(), expected["rows"].flatten(), dim=0) > 0.9999
