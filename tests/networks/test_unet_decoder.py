import torch

from medssl.networks.unet import UNet
from medssl.networks.unet_decoder import UNetDecoder
from tests.networks.decoders import check_decoder


def make(spatial_dims, level_channels, num_classes, strides):
    return UNetDecoder(spatial_dims, level_channels, num_classes)


def test_it_is_a_decoder():
    check_decoder(make)


def test_behind_the_encoder_of_a_unet_it_is_the_unet():
    unet = UNet(2, base_channels=4, num_levels=3).eval()
    head = UNetDecoder(2, unet.level_channels, 2).eval()
    head.ups.load_state_dict(unet.decoder.state_dict())
    x = torch.rand(1, 1, 9, 8)
    torch.testing.assert_close(head(unet.encoder(x)), head.classify(unet(x)[0]))


def test_names_of_the_weights_stay_what_they_are():
    names = {name for name, _ in UNetDecoder(2, (4, 8), 1).named_parameters()}
    assert {"classify.weight", "ups.blocks.0.upsample.deconv.weight", "ups.blocks.0.convs.conv_0.conv.weight"} <= names
