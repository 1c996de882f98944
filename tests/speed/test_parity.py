import copy

import pytest
import torch
from torch import nn

from medssl.methods.simclr import SimCLR
from medssl.networks.resnet import ResNet
from medssl.networks.unet import UNet
from medssl.speed.parity import (
    Parity,
    layer_parities,
    layers_judged,
    measured_step,
    rounded,
    step_parities,
)
from medssl.speed.switches import Accelerated
from tests.engines.pretraining_method import make_batch, make_method
from tests.speed.wrong import (
    SometimesWrongInBfloat16,
    Spoilt,
    WrongInBfloat16,
    WrongOutputInBfloat16,
    noisy,
    replaced,
    scaled,
)


def image_method(backbone, size=32):
    torch.manual_seed(0)
    views = torch.rand(2, 2, 1, *[size] * backbone.spatial_dims)
    return SimCLR(backbone, embedding_channels=16), {"view_1": views[0], "view_2": views[1]}


def parities(method, other, batch):
    return step_parities(measured_step(method, batch), measured_step(other, batch))


def judged(method, batch, channels_last=False):
    with layers_judged(method, channels_last) as right:
        measured_step(method, batch)
    return right


@pytest.mark.parametrize("switch", ["channels_last", "activation_checkpointing"])
@pytest.mark.parametrize("size", [(16, 16, 8), (16, 16)], ids=["3D", "2D"])
def test_switches_that_do_not_round_have_the_loss_and_gradients_of_float32(switch, size):
    method, batch = make_method(len(size)), make_batch(size)
    for parity in parities(method, Accelerated(copy.deepcopy(method), **{switch: True}), batch):
        assert parity.distance < 1e-4


@pytest.mark.parametrize(
    ("spoil", "cosine", "norm"), [(scaled(1.05), 1, 1.05), (scaled(0.5), 1, 0.5), (scaled(-1), -1, 1)]
)
def test_gradients_that_are_scaled_or_turned_round_are_measured(spoil, cosine, norm):
    method = make_method()
    loss, gradients = parities(method, Spoilt(copy.deepcopy(method), spoil), make_batch())
    assert (gradients.cosine, gradients.norm_ratio) == (pytest.approx(cosine, abs=1e-5), pytest.approx(norm, rel=1e-5))
    assert loss.holds and not gradients.holds


@pytest.mark.parametrize("spoil", [noisy, scaled(torch.nan)], ids=["noise", "not finite"])
def test_gradients_with_noise_or_without_a_value_do_not_hold(spoil):
    method = make_method()
    assert not parities(method, Spoilt(copy.deepcopy(method), spoil), make_batch())[1].holds


def test_another_loss_with_the_same_gradients_does_not_hold():
    method, batch = make_method(), make_batch()
    exact = measured_step(method, batch)
    loss, gradients = step_parities(exact, type(exact)(1.02 * exact.loss, exact.gradients))
    assert gradients.holds and not loss.holds


def test_wrong_gradients_of_the_backbone_are_not_hidden_by_large_ones_of_a_head():
    method = make_method(num_levels=2)
    method.restoration_weight = 1000.0
    wrong = copy.deepcopy(method)
    for layer in (wrong.backbone.laterals[0], wrong.backbone.downs[0][1]):
        layer.register_full_backward_hook(lambda _, inputs, outputs: (0.5 * inputs[0],))
    assert not parities(method, wrong, make_batch())[1].holds


def test_the_distance_is_the_norm_of_the_difference():
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 1.0])
    cosine = torch.cosine_similarity(a, b, dim=0).item()
    assert Parity(cosine, (b.norm() / a.norm()).item()).distance == pytest.approx(0.6)
    assert Parity(float("nan"), 1.0).distance == float("inf")


def test_measuring_leaves_no_trace():
    method, batch = make_method(), make_batch()
    before, random = copy.deepcopy(method.state_dict()), torch.get_rng_state()
    judged(method, batch, channels_last=True)
    rounded(method)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in method.parameters())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in method.modules())
    assert {layer.eps for layer in method.modules() if hasattr(layer, "eps")} == {1e-5}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: (make_method(), make_batch()),
        lambda: (make_method(2), make_batch((16, 16))),
        lambda: image_method(ResNet(2, depth=18, base_channels=4)),
        lambda: image_method(ResNet(3, depth=10, base_channels=4), 32),
        lambda: image_method(UNet(2, base_channels=4, num_levels=3)),
    ],
    ids=["FPN 3D", "FPN 2D", "ResNet 2D", "ResNet 3D", "UNet"],
)
def test_every_layer_alone_computes_in_bfloat16_what_it_does_in_float32(make, channels_last):
    method, batch = make()
    right = judged(Accelerated(method, amp=True).without("amp"), batch, channels_last)
    assert len(right) > 5
    assert all(right.values())


@pytest.mark.parametrize("kind", [WrongInBfloat16, WrongOutputInBfloat16, SometimesWrongInBfloat16])
def test_the_layer_that_is_wrong_is_named_and_no_other(kind):
    method, batch = image_method(ResNet(2, depth=10, base_channels=4))
    method.projector[0] = replaced(method.projector[0], kind)
    right = judged(method, batch)
    assert [name for name in right if not right[name]] == ["projector.0"]


class Formula(torch.autograd.Function):
    """A linear layer and its gradients as textbooks write them."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.T + bias

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        return gradient @ weight, gradient.T @ x, gradient.sum(0)


class FormulaInBfloat16(nn.Linear):
    def forward(self, x):
        low = torch.is_autocast_enabled("cpu")
        return Formula.apply(x, self.weight, self.bias) if low else super().forward(x)


def test_outputs_and_gradients_are_compared_with_those_of_the_formula():
    torch.manual_seed(0)
    x, gradient = torch.randn(5, 4), torch.randn(5, 3)
    found = layer_parities(FormulaInBfloat16(4, 3), x, gradient, channels_last=False)
    assert len(found) == 8
    assert all(parity.holds for parity in found)


def test_layers_without_a_gradient_are_not_judged():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with layers_judged(network, channels_last=False) as right:
        with torch.no_grad():
            network(torch.ones(1, 2))
        network[1](torch.ones(1, 2)).sum().backward()
    assert right == {"1": True}


def test_rounding_alone_is_about_as_far_from_float32_as_bfloat16_is():
    method, batch = make_method(), make_batch()
    exact = measured_step(method, batch)
    fast = step_parities(exact, measured_step(Accelerated(copy.deepcopy(method), amp=True), batch))[1]
    alone = step_parities(exact, measured_step(rounded(method), batch))[1]
    assert 0.5 < fast.distance / alone.distance < 2


def test_the_gradient_of_a_bias_is_not_judged_by_rounding_where_its_terms_cancel():
    torch.manual_seed(0)
    x, gradient = torch.randn(4000, 4), torch.randn(4000, 3).bfloat16().float()
    gradient = torch.cat([gradient, -gradient])
    gradient[0] += 1e-2
    assert all(p.holds for p in layer_parities(nn.Linear(4, 3), torch.cat([x, 2 * x]), gradient, channels_last=False))
