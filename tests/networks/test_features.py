import torch

from medssl.networks.features import DenseFeatures
from medssl.networks.fpn import FPN


def test_features_have_the_direction_of_the_finest_level():
    backbone = FPN(base_channels=4, num_levels=2).eval()
    image = torch.rand(1, 1, 7, 6, 5)
    finest = backbone(image)[0]
    expected = finest / finest.pow(2).sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(DenseFeatures(backbone)(image), expected)


def test_weights_are_named_as_in_a_segmentation_network():
    assert all(name.startswith("backbone.") for name in DenseFeatures(FPN(base_channels=4, num_levels=2)).state_dict())
