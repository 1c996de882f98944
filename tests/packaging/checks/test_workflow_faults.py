"""The faults are those that MONAI's own workflow reports or fails on."""

from types import SimpleNamespace

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.properties import InferProperties, TrainProperties

from medssl.packaging.checks.workflow_faults import workflow_faults
from medssl.packaging.train_config import train_config
from tests.packaging.toy_run import segmentation_config


@pytest.fixture
def train(tmp_path):
    config = segmentation_config(tmp_path)
    return train_config(config, config)


def faults_of(train):
    return list(workflow_faults(train, TrainProperties, "train.json"))


def test_the_train_workflow_of_a_run_has_no_fault(train):
    assert faults_of(train) == []


@pytest.mark.parametrize("key", ["bundle_root", "device", "dataset_dir"])
def test_a_missing_property_is_named(key, train):
    del train[key]
    assert faults_of(train) == [f"train.json lacks {key}."]


@pytest.mark.parametrize("key", ["inferer", "dataset"])
def test_a_missing_part_of_the_training_is_named(key, train):
    del train["train"][key]
    assert faults_of(train) == [f"train.json lacks train::{key}."]


def test_a_missing_number_of_epochs_is_named(train):
    del train["train"]["trainer"]["max_epochs"]
    assert faults_of(train) == ["train.json lacks train::trainer::max_epochs."]


def test_handlers_combined_in_an_expression_are_found(train):
    train["train"]["handlers"] = "$@train::some + @train::others"
    (fault,) = faults_of(train)
    assert "train::handlers must be a list" in fault


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("trainer", "train_handlers", [{"_target_": "StatsHandler"}]),
        ("dataset", "transform", {"_target_": "Compose"}),
        ("trainer", "train_handlers", "@train::others"),
    ],
)
def test_an_optional_property_that_is_not_a_plain_reference_is_found(part, key, value, train):
    train["train"][part][key] = value
    (fault,) = faults_of(train)
    assert f"train::{part}::{key} must be the plain reference '@train::" in fault


def test_a_validation_in_the_wrong_place_is_found(train):
    (handler,) = (item for item in train["train"]["handlers"] if item["_target_"] == "ValidationHandler")
    handler["validator"] = "@validate::other"
    (fault,) = faults_of(train)
    assert "validator of the ValidationHandler must be the plain reference '@validate::evaluator'" in fault


def test_a_reference_to_nothing_is_found():
    config = dict.fromkeys(("bundle_root", "device", "dataset_dir", "dataset", "network_def", "inferer"), 1)
    config["evaluator"] = {"val_handlers": "@handlers"}
    assert list(workflow_faults(config, InferProperties, "i.json")) == [
        "i.json: evaluator::val_handlers refers to handlers, which is missing."
    ]


def test_monai_agrees_on_the_optional_properties(train):
    for value, good in (("@train::handlers", True), ("@train::others", False)):
        train["train"]["trainer"]["train_handlers"] = value
        workflow = SimpleNamespace(parser=ConfigParser(train))
        found = [ConfigWorkflow._check_optional_id(workflow, name, facts) for name, facts in TrainProperties.items()]
        assert all(found) is good is (faults_of(train) == [])
