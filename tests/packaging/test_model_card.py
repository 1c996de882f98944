import json

import pytest

from medssl.packaging.model_card import model_card
from tests.packaging.toy_run import segmentation_run

LABELS = {1: "liver", 2: "left kidney"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return segmentation_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def record(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(run):
    return [json.loads(line) for line in (run / "rows.jsonl").read_text(encoding="utf-8").splitlines()]


def test_results_are_means_over_the_cases_that_count(record, rows):
    card = model_card("toy", "Task", record, LABELS, rows)
    assert "| liver | 2 | 0.700 | 7.000 | – |" in card
    assert "| left kidney | 2 | 0.500 (1) | 5.000 (1) | – |" in card


def test_a_run_without_evaluation_says_so(record):
    assert "Not evaluated." in model_card("toy", "Task", record, LABELS, [])


def test_data_and_training_are_stated(record):
    card = model_card("toy", "Task", record, LABELS, [])
    for fact in (record["datalist"]["sha256"], "1 training, 2 unlabeled", "CC BY 4.0", "linear probe", "seed 0"):
        assert fact in card


def test_a_backbone_claims_no_structures(record):
    card = model_card("toy", "Task", {**record, "setting": None, "labels": 0}, {}, [])
    assert "not a segmentation" in card
    assert "SCAN_features.nii.gz" in card
