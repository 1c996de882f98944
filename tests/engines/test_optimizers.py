import torch
from pytorch_optimizer import LARS
from torch import nn

from medssl.engines.optimizers import decay_groups


def make_network():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    return network


def step(optimizer, network):
    """One step on a loss whose gradient is 1 in every weight."""
    sum(parameter.sum() for parameter in network.parameters()).backward()
    optimizer.step()


def test_every_trainable_parameter_is_in_one_group():
    network = make_network()
    network[3].requires_grad_(False)
    matrices, vectors = decay_groups(network, weight_decay=0.1)
    assert matrices["params"] == [network[0].weight]
    assert {id(p) for p in vectors["params"]} == {id(p) for p in (network[0].bias, *network[1].parameters())}


def test_vectors_do_not_decay():
    network = make_network()
    before = {name: value.clone() for name, value in network.named_parameters()}
    step(torch.optim.SGD(decay_groups(network, weight_decay=0.5), lr=0.1), network)
    for name, value in network.named_parameters():
        decay = 0.5 * before[name] if value.dim() > 1 else 0
        torch.testing.assert_close(value, before[name] - 0.1 * (1 + decay), msg=name)


def test_lars_adapts_the_rate_of_matrices_alone():
    # You et al. (2017, https://arxiv.org/abs/1708.03888), equation 6.
    network = make_network()
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    step(LARS(decay_groups(network, weight_decay=0.5), lr=0.1, trust_coefficient=0.01), network)
    for name, value in network.named_parameters():
        w, gradient = before[name], torch.ones_like(before[name])
        expected = w - 0.1 * gradient
        if value.dim() > 1:
            trust = 0.01 * w.norm() / (gradient.norm() + 0.5 * w.norm())
            expected = w - 0.1 * trust * (gradient + 0.5 * w)
        torch.testing.assert_close(value.detach(), expected, msg=name)


def test_a_run_with_lars_can_be_resumed():
    def trained(steps, state=None):
        network = make_network()
        optimizer = LARS(decay_groups(network, weight_decay=0.1), lr=0.1)
        if state is not None:
            network.load_state_dict(state[0])
            optimizer.load_state_dict(state[1])
        for _ in range(steps):
            optimizer.zero_grad()
            step(optimizer, network)
        return network.state_dict(), optimizer.state_dict()

    resumed, whole = trained(2, state=trained(2))[0], trained(4)[0]
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
