import torch
from ignite.engine import Engine
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medssl.engines.averaging import AverageWeights, averaged


def trained(steps, average=None, network=None):
    """Set the weight of a layer to 1, 2, 3, … and average it."""
    network = network or nn.Linear(1, 1)
    average = average or averaged(network, decay=0.9)

    def step(engine, batch):
        with torch.no_grad():
            network.weight.fill_(float(batch))

    engine = Engine(step)
    AverageWeights(average, network).attach(engine)
    engine.run(steps)
    return average, network


def test_it_is_the_exponential_moving_average_of_the_weights():
    average, _ = trained([1, 2, 3])
    expected = 0.9 * (0.9 * 1 + 0.1 * 2) + 0.1 * 3
    torch.testing.assert_close(average.module.weight.item(), expected)


def test_running_statistics_are_averaged_too():
    network = nn.BatchNorm1d(2)
    average = averaged(network, decay=0.5)
    for mean in (0.0, 4.0):
        network.running_mean.fill_(mean)
        average.update_parameters(network)
    assert average.module.running_mean.tolist() == [2.0, 2.0]


def test_it_goes_on_from_a_checkpoint():
    whole, _ = trained([1, 2, 3, 4])
    first, network = trained([1, 2])
    resumed = averaged(network, decay=0.9)
    resumed.load_state_dict(first.state_dict())
    trained([3, 4], resumed, network)
    assert torch.equal(resumed.module.weight, whole.module.weight)


def test_it_has_every_bit_of_the_average_of_torch():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    ours = averaged(network, decay=0.9)
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(4):
        network(torch.randn(2, 1, 5, 5))
        with torch.no_grad():
            network[0].weight.add_(torch.randn_like(network[0].weight))
        ours.update_parameters(network)
        theirs.update_parameters(network)
    expected = theirs.state_dict()
    assert list(ours.state_dict()) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())
