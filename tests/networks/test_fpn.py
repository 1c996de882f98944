import pytest
import torch

from medssl.networks.fpn import FPN, BalancedPyramid
from medssl.ops.pyramid import gather_levels


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("base_channels", "num_levels", "parameters", "tensors"),
    [(32, 5, 47_567_872, 278), (16, 6, 47_624_448, 340)],
    ids=["kats", "vox2vec"],
)
def test_published_sizes(base_channels, num_levels, parameters, tensors):
    network = FPN(3, 1, base_channels, num_levels)
    assert (count(network), len(network.state_dict())) == (parameters, tensors)


def test_balanced_adds_the_projections_and_nothing_else():
    assert count(BalancedPyramid(FPN(3, 1, 32, 5), level_channels=32)) == 47_567_872 + 31_776


@pytest.mark.parametrize("shape", [(16, 16), (17, 5), (1, 3), (9, 8, 5), (8, 8, 1)])
def test_any_size_gives_levels_that_halve_rounding_up(shape):
    network = FPN(len(shape), base_channels=4, num_levels=3).eval()
    sizes = [tuple(level.shape[2:]) for level in network(torch.zeros(1, 1, *shape))]
    assert sizes == [tuple(-(-s // 2**i) for s in shape) for i in range(3)]
    assert network.level_channels == (4, 8, 16)
    assert network.strides == (1, 2, 4)


def test_every_parameter_is_trained():
    network = BalancedPyramid(FPN(2, base_channels=4, num_levels=3), level_channels=5)
    sum(level.square().mean() for level in network(torch.rand(2, 1, 8, 8))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in network.named_parameters() if "bias" not in n)


def test_fixed_projections_are_saved_but_not_trained():
    network = BalancedPyramid(FPN(2, base_channels=4, num_levels=2), trainable=False)
    assert not any(p.requires_grad for p in network.projections.parameters())
    assert any(name.startswith("projections.") for name in network.state_dict())


def test_projecting_gathered_rows_equals_gathering_the_projected_pyramid():
    network = BalancedPyramid(FPN(3, base_channels=4, num_levels=3), level_channels=6).eval()
    x, voxels = torch.rand(2, 1, 9, 8, 4), torch.tensor([[0, 8, 7, 3], [1, 0, 3, 2]])
    rows = network.projections.rows(gather_levels(network.backbone(x), voxels))
    for row, expected in zip(rows, gather_levels(network(x), voxels), strict=True):
        torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("network", [FPN(2, 1, 4, 3), BalancedPyramid(FPN(3, 1, 4, 2))], ids=["FPN", "BalancedPyramid"])
def test_scripted_network_gives_the_same_pyramid(network):
    x = torch.rand(1, 1, *(9, 6, 5)[: network.spatial_dims])
    network.eval()
    for scripted, eager in zip(torch.jit.script(network)(x), network(x), strict=True):
        torch.testing.assert_close(scripted, eager)


def test_level_count_must_be_positive():
    with pytest.raises(ValueError, match="num_levels"):
        FPN(num_levels=0)
