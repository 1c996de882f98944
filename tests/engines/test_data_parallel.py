from functools import partial

import pytest
import torch

from tests.engines.two_ranks import batches_of, method_of, normalised, norms, train
from tests.torchrun import start_on_ranks


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two ranks have computed."""
    out = tmp_path_factory.mktemp("ranks")
    process = start_on_ranks(out, module="tests.engines.two_ranks")
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return [torch.load(out / f"rank_{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def one_process():
    """The losses and the state of each method after the same steps in this process."""
    results = {}
    for name in ("kats", "vox2vec"):
        method = method_of(name)
        results[name] = {"history": train(method, method, batches_of()), "state": method.state_dict()}
    return results


@pytest.mark.parametrize("method", ["kats", "vox2vec"])
def test_several_steps_have_the_losses_and_gradients_of_one_process(method, ranks, one_process):
    expected = one_process[method]["history"]
    for found in ranks:
        for step, other in zip(found[method]["history"], expected, strict=True):
            assert step == pytest.approx(other, rel=1e-5, abs=1e-5)
    assert expected[0]["loss"] != pytest.approx(expected[-1]["loss"], rel=1e-2)


@pytest.mark.parametrize("method", ["kats", "vox2vec"])
def test_the_ranks_hold_the_same_weights_under_the_names_of_one_process(method, ranks, one_process):
    first, second = (found[method]["state"] for found in ranks)
    assert list(first) == list(second) == list(one_process[method]["state"])
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_voxels_are_spread_unevenly_over_the_ranks():
    counts = [len(batches_of(rank, 2)[0]["voxels_1"]) for rank in (0, 1)]
    assert counts[0] != counts[1]


@pytest.mark.parametrize("kind", ["rows", "volumes", "cumulative"])
def test_batch_norm_over_ranks_is_that_of_the_whole_batch(kind, ranks):
    norm, x = next((norm, x) for name, norm, x in norms() if name == kind)
    whole = normalised(norm.double(), x.double())
    parts = [found[kind] for found in ranks]
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5, check_dtype=False)
    for key in ("output", "gradient"):
        close(torch.cat([part[key] for part in parts]), whole[key])
    for i, gradient in enumerate(whole["of_parameters"]):
        close(sum(part["of_parameters"][i] for part in parts), gradient)
    for part in parts:
        assert list(part["state"]) == list(whole["state"])
        close(dict(part["state"]), dict(whole["state"]))
    assert all(torch.equal(parts[0]["state"][name], parts[1]["state"][name]) for name in whole["state"])


def test_batch_norm_of_a_single_value_on_all_ranks_is_an_error(ranks):
    assert all("more than one value" in found["one_value"] for found in ranks)
