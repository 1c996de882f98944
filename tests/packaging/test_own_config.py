from pathlib import Path

import pytest

from medssl.packaging.inference_config import inference_config
from medssl.packaging.own_config import require_data
from medssl.packaging.sources import source_bundles
from medssl.workflows.recipes import find_recipe, merge

SETTINGS = ["linear_probe", "fine_tune", "from_scratch"]
LAYERS = [
    "stock_network",
    "basic_unet",
    "dynunet",
    "segresnet",
    "deeplabv3",
    "unet_decoder",
    "unetplusplus",
    "resnet18",
]
METHODS = sorted(path.stem for path in (source_bundles() / "pretrain" / "configs" / "methods").glob("*.yaml"))
DATA = ["ct", "mr", "image_2d", "mr_slices"]


def require_packable(kind, *recipe):
    settings = {"backbone_weights": None, "class_names": {"1": "one"}, "num_classes": 1, "name": "x", "output_dir": "x"}
    config = merge(recipe, settings)
    require_data(kind, config, inference_config(kind, config), Path("config.json"))


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("data", DATA)
def test_every_setting_of_medssl_is_data(setting, data):
    train, recipe = (find_recipe("segmentation/configs", name) for name in ("train", setting))
    require_packable("segmentation", train, recipe, find_recipe("data", data))


@pytest.mark.parametrize("layer", LAYERS)
def test_every_network_of_medssl_is_data(layer):
    train, recipe = (find_recipe("segmentation/configs", name) for name in ("train", "from_scratch"))
    layer = find_recipe("segmentation/configs", layer, "networks")
    require_packable("segmentation", train, recipe, layer, find_recipe("data", "ct"))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_medssl_is_data(method):
    recipe = [find_recipe("pretrain/configs", "train"), find_recipe("pretrain/configs/methods", method)]
    require_packable("pretrain", *recipe, find_recipe("data", "ct"))


@pytest.mark.parametrize("network", ["unet", "unet_encoder", "resnet50", "fpn"])
def test_every_backbone_of_medssl_is_data(network):
    recipe = [find_recipe("pretrain/configs", "train"), find_recipe("pretrain/configs/methods", "moco")]
    require_packable("pretrain", *recipe, find_recipe("networks", network), find_recipe("data", "mr"))


def test_mean_teacher_and_percentiles_are_data():
    recipe = [find_recipe("segmentation/configs", name) for name in ("train", "fine_tune", "mean_teacher")]
    require_packable("segmentation", *recipe, find_recipe("data", "mr"), find_recipe("data", "mr_percentiles"))
