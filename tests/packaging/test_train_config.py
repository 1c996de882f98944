import pytest
from monai.bundle import ConfigParser

from medssl.packaging.inference_config import inference_config
from medssl.packaging.sources import source_bundles
from medssl.packaging.train_config import train_config
from tests.packaging.toy_run import segmentation_config


def test_the_handlers_are_those_of_the_recipe_in_its_order(tmp_path):
    config = segmentation_config(tmp_path)
    groups = [config["train"][f"{name}_handlers"] for name in ("start", "schedule", "validation", "log")]
    assert train_config(config, config)["train"]["handlers"] == [handler for group in groups for handler in group]


def test_the_configuration_of_the_run_stays_as_it_is(tmp_path):
    config = segmentation_config(tmp_path)
    train_config(config, config)
    assert isinstance(config["train"]["handlers"], str)


def test_a_plain_list_stays_as_it_is():
    config = {"train": {"handlers": [{"_target_": "StatsHandler"}]}, "network_def": {}}
    assert train_config(config, config)["train"]["handlers"] == [{"_target_": "StatsHandler"}]


def test_no_folder_of_the_author_is_published(tmp_path):
    config = segmentation_config(tmp_path)
    assert str(tmp_path) not in str(train_config(config, config))


def test_handlers_combined_in_another_way_are_refused():
    with pytest.raises(ValueError, match="sum of lists"):
        train_config(
            {"train": {"handlers": "$[h for h in @train::all if h]", "all": []}, "network_def": {}}, {"network_def": {}}
        )


def test_the_network_whose_weights_are_packed_is_the_one_of_the_bundle(tmp_path):
    names = ("pretrain/configs/train.yaml", "pretrain/configs/methods/kats.yaml", "data/ct.yaml")
    config = ConfigParser.load_config_files([str(source_bundles() / name) for name in names])
    config |= {"base_channels": 4, "num_levels": 2}
    parser = ConfigParser(train_config(config, inference_config("pretrain", config)))
    assert type(parser.get_parsed_content("network_def")).__name__ == "DenseFeatures"
    method = parser.get_parsed_content("method_def")
    assert type(method.backbone).__name__ == "FPN" and method.projections is not None


def test_a_run_that_was_resumed_is_packed_without_its_checkpoint():
    config = {"resume_from": "checkpoints/step=0000002.pt", "train": {"handlers": []}, "network_def": {}}
    assert train_config(config, {"network_def": {}})["resume_from"] is None
