"""Decoders as layers for fine-tuning and training from scratch, on any backbone."""

import json

import pytest
import torch
from monai.bundle import ConfigParser

from medssl.networks.deeplabv3 import DeepLabV3Head
from medssl.networks.unet_decoder import UNetDecoder
from medssl.networks.unetplusplus import UNetPlusPlusDecoder
from medssl.packaging.inference_config import build_network, inference_config
from medssl.packaging.sources import source_bundles
from medssl.workflows.training import train_segmentation
from tests.tiny import NETWORK, SEGMENTATION

ROOT = source_bundles()
DECODERS = {"deeplabv3": DeepLabV3Head, "unet_decoder": UNetDecoder, "unetplusplus": UNetPlusPlusDecoder}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("backbone", ["fpn", "unet", "unet_encoder", "resnet18"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_works_on_any_backbone(decoder, backbone, spatial_dims):
    files = ("train", "fine_tune", decoder)
    paths = [ROOT / f"segmentation/configs/{name}.yaml" for name in files] + [ROOT / f"networks/{backbone}.yaml"]
    parser = ConfigParser(ConfigParser.load_config_files([str(path) for path in paths]))
    parser.update({"spatial_dims": spatial_dims, "num_classes": 3, "base_channels": 4})
    parser.update({"num_levels": 3} if "num_levels" in parser and backbone != "resnet18" else {})
    parser.update({"aspp_channels": 4} if decoder == "deeplabv3" else {})
    network = parser.get_parsed_content("network_def").eval()
    shape = (33, 20, 9)[:spatial_dims]
    assert type(network.head) is DECODERS[decoder]
    assert network(torch.rand(1, 1, *shape)).shape == (1, 3, *shape)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_is_trained_on_a_pretrained_backbone_and_can_be_packed(decoder, ct_list, pretrained, tmp_path):
    narrow = {"aspp_channels": 4} if decoder == "deeplabv3" else {}
    overrides = {**SEGMENTATION, **narrow}
    weights = train_segmentation(
        "fine_tune",
        ct_list,
        ["ct"],
        tmp_path / "run",
        backbone=pretrained,
        num_labels=1,
        layers=[decoder],
        overrides=overrides,
    )
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["base_channels"] == NETWORK["base_channels"]
    packed = build_network(inference_config("segmentation", config))
    packed.load_state_dict(torch.load(weights, weights_only=True))
    torch.jit.script(packed)
