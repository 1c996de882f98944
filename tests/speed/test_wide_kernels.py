import copy

import pytest
import torch
from torch import nn

from medssl.methods.moco import MoCo
from medssl.networks.resnet import ResNet
from medssl.speed.parity import soil_memory
from medssl.speed.switches import Accelerated
from medssl.speed.wide_kernels import is_wide, run_wide_kernels_in_float32

# Kernel, stride, dilation, size of the input, and whether the kernel covers it along an axis.
CONVOLUTIONS = [
    (3, 1, 1, (2, 8, 8), True),
    (3, 2, 1, (8, 8, 2), True),
    (3, 1, 1, (8, 1, 8), True),
    (3, 1, 1, (4, 4, 4), False),
    (3, 1, 2, (8, 8, 5), True),
    (3, 1, 2, (8, 8, 6), False),
    (1, 1, 1, (1, 1, 1), False),
    (1, 2, 1, (8, 8, 2), False),
    (7, 2, 1, (7, 8), True),
    (7, 2, 1, (8, 8), False),
]


def convolution(kernel, stride, dilation, size, transposed=False):
    torch.manual_seed(0)
    kind = getattr(nn, f"Conv{'Transpose' if transposed else ''}{len(size)}d")
    padding = dilation * (kernel // 2)
    return kind(8, 16, kernel, stride, padding, dilation=dilation), torch.randn(2, 8, *size)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "dilation", "size", "wide"), CONVOLUTIONS)
def test_wide_kernels_and_no_others_run_in_float32(kernel, stride, dilation, size, wide, transposed):
    conv, x = convolution(kernel, stride, dilation, size, transposed)
    exact = conv(x)
    run_wide_kernels_in_float32(conv)
    assert is_wide(conv, size) == wide
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    assert y.dtype == (torch.float32 if wide else torch.bfloat16)
    if wide:
        assert torch.equal(y, exact)


@pytest.mark.parametrize("size", [(2, 8, 8), (8, 8, 1), (8, 8, 8)])
def test_without_autocast_nothing_changes(size):
    conv, x = convolution(3, 2, 1, size)
    same = copy.deepcopy(conv)
    run_wide_kernels_in_float32(same)
    assert torch.equal(same(x), conv(x))
    assert same(x.double().float()).dtype == torch.float32
    assert same.double()(x.double()).dtype == torch.float64


def test_the_module_keeps_its_names_kinds_and_parameters():
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2), nn.ConvTranspose3d(2, 1, 2))
    names, parameters, printed = list(network.state_dict()), list(network.parameters()), repr(network)
    for _ in range(2):
        run_wide_kernels_in_float32(network)
    assert list(network.state_dict()) == names
    assert all(a is b for a, b in zip(network.parameters(), parameters, strict=True))
    assert isinstance(network[0], nn.Conv3d) and isinstance(network[2], nn.ConvTranspose3d)
    assert repr(network) == printed
    assert len(type(network[0]).__mro__) == len(nn.Conv3d.__mro__) + 2


@pytest.fixture(scope="module")
def thin():
    """A 3D method whose last maps are one or two voxels thick, and views for it."""
    torch.manual_seed(0)
    views = torch.rand(2, 2, 1, 64, 32, 32)
    method = MoCo(ResNet(3, depth=18, base_channels=8), embedding_channels=16, queue_size=64)
    return method, {"view_1": views[0], "view_2": views[1]}


def test_a_bfloat16_step_is_a_function_of_its_batch_whatever_memory_held(thin):
    method, batch = thin
    results = set()
    for _ in range(20):
        network = Accelerated(copy.deepcopy(method), amp=True)
        weights = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv3d | nn.Linear)]
        weights = [weight for weight in weights if weight.requires_grad]
        soil_memory(weights)
        loss = network(batch)["loss"]
        soil_memory(weights)
        gradients = torch.autograd.grad(loss, weights)
        results.add((loss.item(), *(gradient.norm().item() for gradient in gradients)))
    assert len(results) == 1
    assert all(torch.tensor(next(iter(results))).isfinite())
