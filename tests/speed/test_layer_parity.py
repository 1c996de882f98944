import copy

import pytest
import torch
from torch import nn

from medssl.methods.simclr import SimCLR
from medssl.networks.resnet import ResNet
from medssl.networks.unet import UNet
from medssl.speed.layer_parity import LayerCall, layer_gradients, recorded_calls, unlike_layers
from tests.engines.pretraining_method import make_batch, make_method


class WrongInBfloat16(nn.Linear):
    """A layer whose output is right and whose gradients are, in bfloat16, partly missing."""

    def forward(self, x):
        y = super().forward(x)
        if y.dtype == torch.bfloat16:
            y.register_hook(lambda gradient: gradient * (torch.arange(gradient.shape[-1]) % 32 > 0))
        return y


def image_method(backbone, size=32):
    torch.manual_seed(0)
    views = torch.rand(2, 2, 1, *[size] * backbone.spatial_dims)
    return SimCLR(backbone, embedding_channels=16), {"view_1": views[0], "view_2": views[1]}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: (make_method(), make_batch()),
        lambda: (make_method(2), make_batch((16, 16))),
        lambda: image_method(ResNet(2, depth=18, base_channels=4)),
        # Smaller ones end in two voxels, whose gradients torch 2.13 gets wrong.
        lambda: image_method(ResNet(3, depth=10, base_channels=4), 80),
        lambda: image_method(UNet(2, base_channels=4, num_levels=3)),
    ],
    ids=["FPN 3D", "FPN 2D", "ResNet 2D", "ResNet 3D", "UNet"],
)
def test_every_layer_alone_has_the_gradients_of_float32(make, channels_last):
    method, batch = make()
    unlike, number = unlike_layers(method, batch, channels_last)
    assert unlike == []
    assert number > 5


def test_the_layer_that_is_wrong_is_named_and_no_other():
    method, batch = image_method(ResNet(2, depth=10, base_channels=4))
    layer = method.projector[0]
    method.projector[0] = WrongInBfloat16(layer.in_features, layer.out_features)
    assert unlike_layers(method, batch, False)[0] == ["projector.0"]


def test_gradients_that_are_not_finite_are_named():
    method, batch = image_method(ResNet(2, depth=10, base_channels=4))
    method.projector[0].register_forward_hook(
        lambda layer, inputs, y: y * (torch.nan if y.dtype == torch.bfloat16 else 1)
    )
    assert unlike_layers(method, batch, False)[0] == ["projector.0"]


def test_measuring_leaves_no_trace():
    method, batch = image_method(ResNet(2, depth=10, base_channels=4))
    before = copy.deepcopy(method.state_dict())
    unlike_layers(method, batch, True)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(p.grad is None for p in method.parameters())
    assert not any(layer._forward_hooks for layer in method.modules())


def test_gradients_are_those_of_the_formula():
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    x, gradient = torch.randn(5, 4), torch.randn(5, 3)
    x, gradient, layer.weight.data = (value.bfloat16().float() for value in (x, gradient, layer.weight.data))
    of_input, of_weight = layer_gradients(LayerCall("0", layer, x, gradient), amp=False, channels_last=False)
    torch.testing.assert_close(of_input, gradient @ layer.weight)
    torch.testing.assert_close(of_weight, gradient.T @ x)


def test_layers_without_a_gradient_are_not_recorded():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with recorded_calls(network) as calls:
        with torch.no_grad():
            network(torch.ones(1, 2))
        network[1](torch.ones(1, 2)).sum().backward()
    assert [call.name for call in calls] == ["1"]
