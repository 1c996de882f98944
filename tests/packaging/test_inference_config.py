import json

import pytest
from monai.bundle import ConfigParser

from medssl.packaging.inference_config import build_network, inference_config
from medssl.packaging.sources import source_bundles
from tests.packaging.toy_run import segmentation_config


@pytest.fixture
def config(tmp_path):
    return segmentation_config(tmp_path)


def test_everything_the_network_refers_to_is_kept(config):
    merged = inference_config("segmentation", config)
    assert {"backbone_def", "head_def", "base_channels", "num_classes", "spacing", "patch_size"} <= set(merged)
    assert build_network(merged).backbone.level_channels == (4, 8)


def test_training_is_left_out(config):
    merged = inference_config("segmentation", config)
    assert not {"train", "validate", "initialize", "learning_rate", "backbone_weights"} & set(merged)


def test_only_the_image_is_read(config):
    merged = inference_config("segmentation", config)
    assert merged["keys"] == ["@image_key"]
    assert merged["interpolation"] == ["bilinear"]


def test_the_windows_are_those_of_the_run(config):
    assert inference_config("segmentation", {**config, "overlap": 0.25})["overlap"] == 0.25
    assert inference_config("segmentation", config)["window_mode"] == "gaussian"
    assert inference_config("segmentation", {**config, "window_mode": "constant"})["window_mode"] == "constant"


def test_it_is_plain_json(config):
    merged = inference_config("segmentation", config)
    assert json.loads(json.dumps(merged)) == merged


def test_a_missing_setting_is_named(config):
    del config["patch_size"]
    with pytest.raises(ValueError, match="lacks 'patch_size'"):
        inference_config("segmentation", config)


@pytest.mark.parametrize(
    ("data", "scaling"),
    [(["mr"], "BodyContrastd"), (["mr", "mr_percentiles"], "ScaleIntensityRangePercentilesd")],
)
def test_a_bundle_scales_mr_as_its_run_did(data, scaling):
    names = ["pretrain/configs/train", "pretrain/configs/methods/kats", *(f"data/{name}" for name in data)]
    config = ConfigParser.load_config_files([str(source_bundles() / f"{name}.yaml") for name in names])
    parser = ConfigParser(inference_config("pretrain", config))
    assert scaling in [type(step).__name__ for step in parser.get_parsed_content("image_transforms")]
