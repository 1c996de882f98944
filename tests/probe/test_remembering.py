import torch

from medssl.networks.backbone import Backbone
from medssl.networks.fpn import FPN
from medssl.probe.remembering import RememberingBackbone


def made():
    torch.manual_seed(0)
    backbone = FPN(spatial_dims=3, base_channels=4, num_levels=2)
    return backbone, RememberingBackbone(backbone)


def test_it_is_a_backbone_with_the_features_of_the_one_given():
    backbone, remembering = made()
    windows = torch.rand(2, 1, 8, 8, 8)
    assert isinstance(remembering, Backbone)
    with torch.no_grad():
        expected = backbone(windows)
    for found, level in zip(remembering(windows), expected, strict=True):
        torch.testing.assert_close(found, level)


def test_a_window_is_computed_once_alone_or_in_a_batch():
    _, remembering = made()
    windows = torch.rand(3, 1, 8, 8, 8)
    remembering(windows)
    remembering(windows[1:2])
    remembering(windows.flip(0))
    assert remembering.computed == 3


def test_another_window_is_computed_anew():
    _, remembering = made()
    window = torch.rand(1, 1, 8, 8, 8)
    former = remembering(window)[0].clone()
    window[0, 0, 4, 4, 4] += 1
    assert not torch.equal(remembering(window)[0], former)
    assert remembering.computed == 2


def test_windows_of_the_same_voxels_in_another_shape_are_told_apart():
    _, remembering = made()
    assert remembering(torch.zeros(1, 1, 4, 8, 8))[0].shape[2:] == (4, 8, 8)
    assert remembering(torch.zeros(1, 1, 8, 4, 8))[0].shape[2:] == (8, 4, 8)
