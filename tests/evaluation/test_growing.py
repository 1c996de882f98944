import torch
from torch import nn

from medssl.evaluation.growing import GrowingInferer


class Recording(nn.Module):
    """A convolution that notes the sizes of the windows it sees."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.sizes = nn.Conv2d(1, 2, 3, padding=1), []

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        self.sizes.append(tuple(window.shape[2:]))
        return self.conv(window)


def test_a_volume_within_the_limit_goes_through_the_network_whole():
    network, volume = Recording(), torch.rand(1, 1, 96, 64)
    with torch.inference_mode():
        found = GrowingInferer((16, 16), stride=4)(volume, network)
        assert network.sizes == [(96, 64)]
        torch.testing.assert_close(found, network.conv(volume))


def test_without_a_stride_windows_keep_the_size_of_the_patch():
    network = Recording()
    with torch.inference_mode():
        GrowingInferer((16, 16), stride=None)(torch.rand(1, 1, 48, 32), network)
    assert set(network.sizes) == {(16, 16)}
