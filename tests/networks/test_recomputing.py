import copy
import io

import pytest
import torch

from medssl.networks.fpn import FPN, ResidualStack
from medssl.networks.recomputing import recomputed


def stacks(network):
    return [module for module in network.modules() if isinstance(module, ResidualStack)]


def networks(spatial_dims):
    """Give an FPN and a copy of it that recomputes its stacks."""
    torch.manual_seed(0)
    plain = FPN(spatial_dims, base_channels=4, num_levels=3)
    other = copy.deepcopy(plain)
    for stack in stacks(other):
        stack.recomputes = True
    return plain, other


def step(network):
    """Give loss and gradients of two images that share the network, as two views do."""
    images = torch.rand(2, 2, 1, *(9, 8, 6)[: network.spatial_dims], generator=torch.Generator().manual_seed(1))
    loss = sum(level.square().mean() for image in images for level in network(image))
    loss.backward()
    return loss, {name: p.grad for name, p in network.named_parameters()}


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_losses_gradients_and_running_statistics_stay_the_same_to_the_bit(spatial_dims):
    plain, other = networks(spatial_dims)
    (loss, gradients), (other_loss, other_gradients) = step(plain), step(other)
    assert torch.equal(loss, other_loss)
    assert all(torch.equal(gradients[name], other_gradients[name]) for name in gradients)
    state = other.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())


def saved_bytes(network):
    sizes = []

    def pack(x):
        sizes.append(x.nbytes)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        network(torch.rand(1, 1, 16, 16, 8))
    return sum(sizes)


def test_fewer_activations_are_kept():
    plain, other = networks(3)
    assert saved_bytes(other) < saved_bytes(plain) / 3


def test_statistics_are_the_module_s_own_again_after_an_error():
    norm = torch.nn.BatchNorm1d(2)
    mean, calls = norm.running_mean, []

    def run(x):
        calls.append(x)
        if len(calls) == 2:
            raise ArithmeticError
        return norm(x)

    out = recomputed(run, norm, torch.rand(4, 2, requires_grad=True))
    with pytest.raises(ArithmeticError):
        out.sum().backward()
    assert norm.running_mean is mean


def test_without_gradients_nothing_is_recomputed():
    plain, other = networks(2)
    x = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(plain(x), other(x), strict=True))


def test_a_recomputing_network_can_be_scripted():
    _, other = networks(3)
    scripted = torch.jit.script(other.eval())
    torch.jit.save(scripted, io.BytesIO())
    x = torch.rand(1, 1, 8, 8, 4)
    assert all(torch.equal(a, b) for a, b in zip(scripted(x), other(x), strict=True))
