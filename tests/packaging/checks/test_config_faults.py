"""Faults that programs have met in configurations are found when put into a good one."""

import copy

import pytest

from medssl.packaging.checks.config_faults import config_faults, transform_faults
from medssl.packaging.inference_config import inference_config
from tests.packaging.toy_run import segmentation_config


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return inference_config("segmentation", segmentation_config(tmp_path_factory.mktemp("run")))


@pytest.fixture
def config(good):
    return copy.deepcopy(good)


def transform(config, name):
    """The transform of the postprocessing whose class name ends like this."""
    return next(item for item in config["postprocessing"]["transforms"] if item["_target_"].endswith(name))


def test_what_medssl_writes_has_no_fault(config):
    assert list(config_faults(config, [])) == []
    assert list(transform_faults(config, segments=True)) == []


def test_a_pretraining_bundle_has_no_fault(tmp_path):
    config = inference_config("pretrain", segmentation_config(tmp_path))
    assert list(config_faults(config, [])) == []
    assert list(transform_faults(config, segments=False)) == []


def test_a_configuration_that_nothing_runs_is_found(config):
    del config["run"]
    (fault,) = config_faults(config, [])
    assert fault == "configs/inference.json lacks run."


@pytest.mark.parametrize("handlers", [None, [], "$[]", [{"_target_": "StatsHandler"}]])
def test_weights_that_are_never_loaded_are_found(handlers, config):
    config["handlers"] = handlers
    (fault,) = config_faults(config, [])
    assert "must be CheckpointLoader" in fault


def test_a_loader_that_can_be_switched_off_is_found(config):
    config["handlers"][0]["_disabled_"] = "$not os.path.exists('model.pt')"
    (fault,) = config_faults(config, [])
    assert "always on" in fault


def test_a_loader_that_is_not_strict_is_found(config):
    config["handlers"][0]["strict"] = False
    (fault,) = config_faults(config, [])
    assert "must be strict" in fault


def test_loading_in_initialize_is_found(config):
    config["initialize"] = ["$@handlers[0](@evaluator)"]
    (fault,) = config_faults(config, [])
    assert "must not have initialize" in fault


@pytest.mark.parametrize("target", ["scripts.net.Net", "os.system", "builtins.eval"])
def test_code_that_the_user_has_not_installed_is_found(target, config):
    config["network_def"] = {"_target_": target}
    (fault,) = config_faults(config, ["nibabel"])
    assert f"names '{target}'" in fault


def test_code_of_a_required_package_is_accepted(config):
    config["network_def"] = {"_target_": "my_nets.Net"}
    assert list(config_faults(config, ["my-nets"])) == []


def test_image_path_must_be_removed_before_spacing(config):
    config["preprocessing"]["transforms"] = "@image_transforms"
    (fault,) = transform_faults(config, segments=True)
    assert "must delete image_path (DeleteItemsd) before Spacingd" in fault


def test_removing_image_path_after_spacing_is_too_late(config):
    config["preprocessing"]["transforms"] = "$@image_transforms + [@remove_image_path]"
    (fault,) = transform_faults(config, segments=True)
    assert "before Spacingd" in fault


def test_another_reader_is_found(config):
    config["image_transforms"][0] = {"_target_": "EnsureTyped", "keys": "@keys"}
    (fault,) = transform_faults(config, segments=True)
    assert "LoadImaged" in fault


@pytest.mark.parametrize("key", ["image_2", "label_2"])
def test_a_key_that_looks_like_metadata_is_found(key, config):
    config["image_transforms"].append({"_target_": "EnsureTyped", "keys": key})
    (fault,) = transform_faults(config, segments=True)
    assert f"'{key}'" in fault


def test_a_writer_of_another_class_is_found(config):
    config["postprocessing"]["transforms"].append(
        {"_target_": "medssl.engines.weights.SaveWeights", "module": 1, "path": ""}
    )
    (fault,) = transform_faults(config, segments=True, trust=True)
    assert "SaveWeights must be a SaveImaged, by class and by name" in fault


def test_a_segmentation_in_a_format_that_slicer_does_not_open_is_found(config):
    transform(config, "SaveImageAtomicd")["output_ext"] = ".mha"
    (fault,) = transform_faults(config, segments=True)
    assert ".mha" in fault


def test_labels_as_floats_are_found(config):
    transform(config, "SaveImageAtomicd")["output_dtype"] = "$np.float32"
    (fault,) = transform_faults(config, segments=True)
    assert "must write uint8" in fault


def test_a_bundle_that_writes_nothing_is_found(config):
    config["postprocessing"]["transforms"] = []
    (fault,) = transform_faults(config, segments=True)
    assert "writes no file" in fault
