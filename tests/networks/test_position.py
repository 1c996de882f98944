"""A backbone that takes coordinates too: what its coarsest level holds, and whose weights it loads."""

import pytest
import torch
from monai.transforms import AddCoordinateChannels

from medssl.engines.weights import load_backbone
from medssl.networks.backbone import Backbone
from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.networks.position import PositionedBackbone, num_coordinates, pretrained_part
from medssl.networks.segmentation import SegmentationNetwork
from medssl.packaging.weights import script_network


def positioned(dims, levels=3):
    torch.manual_seed(0)
    return PositionedBackbone(FPN(dims, base_channels=4, num_levels=levels)).eval()


def image_with_coordinates(dims, size=16):
    image = torch.rand(1, *[size] * dims, generator=torch.Generator().manual_seed(0))
    return AddCoordinateChannels(spatial_dims=(0, 1))(image)[None]


@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_a_backbone_whose_finer_levels_are_those_of_the_one_inside(dims):
    network, x = positioned(dims), image_with_coordinates(dims)
    assert isinstance(network, Backbone) and num_coordinates(network) == 2
    with torch.no_grad():
        levels, inside = network(x), network.backbone(x[:, :1])
    assert [level.shape[1] for level in levels] == list(network.level_channels)
    for level, expected in zip(levels, inside, strict=True):
        torch.testing.assert_close(level[:, : expected.shape[1]], expected, rtol=0, atol=0)


def test_position_and_its_products_lie_between_minus_one_and_one_across_the_image():
    network = positioned(2, levels=2)
    with torch.no_grad():
        x, y, xx, xy, yy = network(image_with_coordinates(2))[-1][0, -5:]
    # A cell is two voxels wide; the centres of 16 voxels lie 2 / 15 apart.
    expected = torch.arange(8) * 4 / 15 - 14 / 15
    torch.testing.assert_close(x, expected[:, None].expand(8, 8))
    torch.testing.assert_close(y, expected[None].expand(8, 8))
    for product, factors in ((xx, (x, x)), (xy, (x, y)), (yy, (y, y))):
        torch.testing.assert_close(product, factors[0] * factors[1])


def test_a_window_says_where_in_the_scan_it_lies():
    network, x = positioned(2, levels=2), image_with_coordinates(2)
    with torch.no_grad():
        whole, window = network(x)[-1], network(x[:, :, 8:, 4:12])[-1]
    torch.testing.assert_close(window[:, -5:], whole[:, -5:, 4:, 2:6])


def test_pretrained_weights_are_those_of_the_backbone_inside(tmp_path):
    other = FPN(2, base_channels=4, num_levels=3)
    torch.save(other.state_dict(), tmp_path / "backbone.pt")
    network = load_backbone(positioned(2), tmp_path / "backbone.pt")
    for name, value in other.state_dict().items():
        torch.testing.assert_close(network.backbone.state_dict()[name], value, rtol=0, atol=0)
    assert pretrained_part(other) is other and num_coordinates(other) == 0


@pytest.mark.parametrize("dims", [2, 3])
def test_it_can_be_scripted(dims):
    backbone = positioned(dims)
    network = SegmentationNetwork(backbone, LinearHead(dims, backbone.level_channels, 2), frozen=True).eval()
    x = image_with_coordinates(dims)
    with torch.no_grad():
        torch.testing.assert_close(script_network(network)(x), network(x))
