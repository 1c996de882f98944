import hashlib

import pytest

from medssl.runs.record import (
    datalist_record,
    finish_run_record,
    library_versions,
    read_run_record,
    run_record,
    without_local_paths,
    write_run_record,
)
from tests.packaging.toy_run import LABELS, write_datalist


@pytest.fixture
def facts(tmp_path):
    return {"method": "kats", "recipe": ["train.yaml"], "seed": 7, "steps": 30, "datalist": write_datalist(tmp_path)}


def test_versions_are_those_that_run():
    import torch

    assert library_versions()["torch"] == torch.__version__
    assert library_versions()["medssl"]


def test_a_data_list_is_identified_and_counted(tmp_path):
    record = datalist_record(write_datalist(tmp_path))
    assert record["counts"] == {"training": 1, "unlabeled": 2}
    assert (record["name"], record["modality"], record["labels"]) == ("toy", "CT", LABELS)
    assert record["licence"] == "CC BY 4.0"


def test_a_damaged_data_list_is_named(tmp_path):
    (tmp_path / "list.json").write_text("{")
    with pytest.raises(ValueError, match=r"list.json is not valid JSON"):
        datalist_record(tmp_path / "list.json")


def test_a_record_says_what_the_run_was(facts):
    record = run_record("segmentation", setting="linear_probe", overrides={"max_epochs": 3}, labels=5, **facts)
    assert (record["seed"], record["steps"], record["labels"]) == (7, 30, 5)
    assert record["overrides"] == {"max_epochs": 3}
    assert record["backbone_sha256"] is None and record["finished"] is None


def test_no_number_of_labels_stands_for_every_training_case(facts):
    assert run_record("segmentation", setting="fine_tune", **facts)["labels"] == 1
    assert run_record("pretrain", **facts)["labels"] == 0


def test_a_record_has_the_hash_of_the_backbone(facts, tmp_path):
    (tmp_path / "backbone.pt").write_bytes(b"weights")
    record = run_record("segmentation", setting="fine_tune", backbone=tmp_path / "backbone.pt", **facts)
    assert record["backbone_sha256"] == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.parametrize(("kind", "setting"), [("pretrain", "fine_tune"), ("segmentation", None), ("other", None)])
def test_kind_and_setting_must_fit(facts, kind, setting):
    with pytest.raises(ValueError, match="must be"):
        run_record(kind, setting=setting, **facts)


def test_the_end_of_a_run_is_noted(facts, tmp_path):
    started = run_record("pretrain", **facts)
    write_run_record(tmp_path, started)
    finished = finish_run_record(tmp_path, steps=25)
    assert finished == read_run_record(tmp_path)
    assert finished["started"] == started["started"] <= finished["finished"]
    assert finished["steps"] == 25


def test_a_resumed_run_keeps_its_start(facts, tmp_path):
    write_run_record(tmp_path, {**run_record("pretrain", **facts), "started": "2024-05-01T00:00:00+00:00"})
    write_run_record(tmp_path, run_record("pretrain", **facts))
    assert read_run_record(tmp_path)["started"] == "2024-05-01T00:00:00+00:00"


def test_every_resume_is_noted(facts, tmp_path):
    write_run_record(tmp_path, run_record("pretrain", **facts))
    write_run_record(tmp_path, run_record("pretrain", **facts), resumed_at=10)
    write_run_record(tmp_path, run_record("pretrain", **facts), resumed_at=20, changes=["seed: 0 -> 1"])
    resumes = finish_run_record(tmp_path)["resumes"]
    assert [resume["step"] for resume in resumes] == [10, 20]
    assert "changes" not in resumes[0] and resumes[1]["changes"] == ["seed: 0 -> 1"]


def test_a_folder_without_a_record_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run\.json is missing; give the folder of a medssl run"):
        read_run_record(tmp_path)


def test_local_folders_are_left_out():
    config = {"datalist": "/home/ada/list.json", "run": ["$@trainer.run()", "/data/x"], "seed": 0}
    assert without_local_paths(config) == {"datalist": "list.json", "run": ["$@trainer.run()", "x"], "seed": 0}
