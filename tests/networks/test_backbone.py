import pytest
import torch
from torch import nn

from medssl.networks.backbone import Backbone, LocatedBackbone, backbone_of, require_backbone
from medssl.networks.features import DenseFeatures
from medssl.networks.fpn import FPN, BalancedPyramid
from medssl.networks.resnet import ResNet
from medssl.networks.unet import UNet, UNetEncoder

BACKBONES = {
    "fpn": lambda dims: FPN(dims, base_channels=4, num_levels=3),
    "balanced": lambda dims: BalancedPyramid(FPN(dims, base_channels=4, num_levels=3), level_channels=6),
    "unet": lambda dims: UNet(dims, base_channels=4, num_levels=3),
    "unet_encoder": lambda dims: UNetEncoder(dims, base_channels=4, num_levels=3),
    "resnet": lambda dims: ResNet(dims, depth=10, base_channels=4),
}


class Strided(nn.Conv2d):
    """A backbone of one level that does not say where its cells lie."""

    spatial_dims, level_channels, strides = 2, (4,), (2,)

    def __init__(self):
        super().__init__(1, 4, 3, stride=2, padding=1)

    def forward(self, x):
        return [super().forward(x)]


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_give_the_pyramid_that_they_announce(name, spatial_dims):
    backbone = BACKBONES[name](spatial_dims)
    size = (33, 20, 9)[:spatial_dims]
    pyramid = backbone(torch.rand(2, 1, *size))
    expected = [
        (2, channels, *(-(-n // stride) for n in size))
        for channels, stride in zip(backbone.level_channels, backbone.strides, strict=True)
    ]
    assert [tuple(level.shape) for level in pyramid] == expected
    assert backbone.spatial_dims == spatial_dims
    assert isinstance(backbone, LocatedBackbone)
    require_backbone(backbone, located=True)


def test_a_network_that_is_not_a_backbone_is_refused_with_what_it_lacks():
    with pytest.raises(ValueError, match=r"Linear cannot be a backbone: it has no spatial_dims, level_channels"):
        require_backbone(nn.Linear(2, 1))
    assert not isinstance(nn.Linear(2, 1), Backbone)


def test_only_matching_by_place_needs_the_centres_of_cells():
    require_backbone(Strided())
    with pytest.raises(ValueError, match="Strided cannot be a backbone: it has no first_centres"):
        require_backbone(Strided(), located=True)


def test_the_backbone_of_a_network_is_found_and_others_have_none():
    backbone = Strided()
    assert backbone_of(DenseFeatures(backbone)) is backbone
    assert backbone_of(nn.Sequential(nn.Conv2d(1, 1, 1))) is None
    other = nn.Module()
    other.backbone = nn.Conv2d(1, 1, 1)
    assert backbone_of(other) is None
