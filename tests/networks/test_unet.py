import itertools

import pytest
import torch
from monai.networks.nets import BasicUNet

from medssl.networks.unet import UNet, UNetEncoder, UNetUps

BACKBONES = [UNet, UNetEncoder]


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("shape", [(16, 16), (17, 5), (1, 3), (9, 8, 5), (8, 8, 1)])
def test_any_size_gives_levels_that_halve_rounding_up(backbone, shape):
    network = backbone(len(shape), base_channels=4, num_levels=3).eval()
    levels = network(torch.zeros(1, 1, *shape))
    assert [tuple(level.shape[2:]) for level in levels] == [tuple(-(-s // 2**i) for s in shape) for i in range(3)]
    assert [level.shape[1] for level in levels] == [4, 8, 16]
    assert network.level_channels == (4, 8, 16)
    assert network.strides == (1, 2, 4)
    assert network.spatial_dims == len(shape)


def test_convolutions_have_the_widths_of_the_paper():
    stages = UNetEncoder(2, 3, 64, 5).stages
    widths = [(conv.in_channels, conv.out_channels) for conv in stages.modules() if isinstance(conv, torch.nn.Conv2d)]
    assert widths == [
        pair
        for fine, coarse in itertools.pairwise((3, 64, 128, 256, 512, 1024))
        for pair in ((fine, coarse), (coarse, coarse))
    ]


def test_the_size_is_that_of_the_unet_of_monai():
    base = 4
    features = (base, 2 * base, 4 * base, 8 * base, 16 * base, base)
    stock = BasicUNet(2, 1, 1, features=features, act="relu", norm="batch", bias=False)
    # MONAI's last step keeps the width, ours halves it; its logits layer has no counterpart here.
    extra = count(stock.upcat_1) + count(stock.final_conv)
    ours = UNet(2, 1, base, 5)
    assert count(ours) - count(ours.decoder.blocks[-1]) == count(stock) - extra


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_parameter_is_trained(backbone):
    network = backbone(2, base_channels=4, num_levels=3)
    sum(level.square().mean() for level in network(torch.rand(2, 1, 16, 16))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_the_decoder_starts_from_the_bottom_of_the_encoder_and_sees_its_levels():
    network = UNet(2, base_channels=4, num_levels=3).eval()
    encoded = network.encoder(torch.rand(1, 1, 8, 8))
    decoded = network.decoder(encoded)
    torch.testing.assert_close(decoded[-1], encoded[-1])
    changed = [torch.zeros_like(encoded[0]), *encoded[1:]]
    assert not torch.equal(network.decoder(changed)[0], decoded[0])


@pytest.mark.parametrize("network", [UNet(2, 1, 4, 3), UNet(3, 1, 4, 2), UNetEncoder(3, 1, 4, 3)])
def test_scripted_network_gives_the_same_pyramid(network):
    x = torch.rand(1, 1, *(9, 6, 5)[: network.spatial_dims])
    network.eval()
    for scripted, eager in zip(torch.jit.script(network)(x), network(x), strict=True):
        torch.testing.assert_close(scripted, eager)


def test_names_of_the_weights_stay_what_they_are():
    names = {name for name, _ in UNet(2, 1, 4, 2).named_parameters()}
    assert {
        "encoder.stages.0.conv_0.conv.weight",
        "encoder.stages.1.conv_1.adn.N.bias",
        "decoder.blocks.0.upsample.deconv.weight",
        "decoder.blocks.0.convs.conv_1.conv.weight",
    } <= names


def test_one_level_is_an_image_of_features():
    assert [level.shape for level in UNetUps(2, (4,))([torch.zeros(1, 4, 3, 3)])] == [(1, 4, 3, 3)]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_level_count_must_be_positive(backbone):
    with pytest.raises(ValueError, match="num_levels"):
        backbone(num_levels=0)
