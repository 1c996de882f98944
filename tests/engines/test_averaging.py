import torch
from ignite.engine import Engine
from torch import nn

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
