import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from medssl.evaluation.metrics import FIELDS, read_rows
from medssl.workflows.training import evaluate, pretrain, train_segmentation
from tests.tiny import NETWORK, PRETRAINING, SEGMENTATION, files_of


@pytest.fixture
def run(probed, tmp_path):
    """A copy of the probe that a test may change."""
    return Path(shutil.copytree(probed, tmp_path / "copy"))


def with_sections(ct_list, folder, **sections):
    """Write the list with other sections, its paths made absolute."""
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    for cases in listed.values():
        for case in cases if isinstance(cases, list) else ():
            case |= {key: str(ct_list.parent / case[key]) for key in ("image", "label") if key in case}
    path = folder / "list.json"
    path.write_text(json.dumps({**listed, **sections}))
    return path


def test_a_record_says_what_a_run_was_made_of(pretrained, probed, ct_list):
    record = json.loads((probed / "run.json").read_text(encoding="utf-8"))
    assert record["finished"] >= record["started"]
    assert {"python", "torch", "monai", "medssl"} <= record["versions"].keys()
    assert (record["kind"], record["setting"], record["method"]) == ("segmentation", "linear_probe", "kats")
    assert (record["labels"], record["seed"], record["steps"]) == (1, 0, 2)
    assert [Path(path).name for path in record["recipe"]] == ["train.yaml", "linear_probe.yaml", "ct.yaml"]
    assert record["overrides"]["patch_size"] == SEGMENTATION["patch_size"]
    assert record["datalist"]["path"] == str(ct_list)
    assert json.loads((pretrained / "run.json").read_text(encoding="utf-8"))["kind"] == "pretrain"


def test_a_segmentation_run_takes_over_the_network_of_its_backbone(probed):
    config = json.loads((probed / "config.json").read_text(encoding="utf-8"))
    assert {key: config[key] for key in NETWORK} == NETWORK


def test_the_same_run_gives_the_same_weights(pretrained, ct_list, tmp_path):
    weights = pretrain("kats", ct_list, ["ct"], tmp_path / "again", overrides=PRETRAINING)
    assert weights.read_bytes() != b""
    again, first = (torch.load(path, weights_only=True) for path in (weights, pretrained / "backbone.pt"))
    assert all(torch.equal(again[name], first[name]) for name in first)


def test_the_fold_chooses_the_case_and_seeds_the_run(ct_list, tmp_path):
    configs = []
    for fold in (0, 1):
        overrides = {**SEGMENTATION, **NETWORK}
        train_segmentation(
            "linear_probe", ct_list, ["ct"], tmp_path / str(fold), num_labels=1, fold=fold, overrides=overrides
        )
        configs.append(json.loads((tmp_path / str(fold) / "config.json").read_text(encoding="utf-8")))
    assert [(config["fold"], config["seed"], config["name"]) for config in configs] == [
        (0, 0, "random"),
        (1, 1, "random"),
    ]


@pytest.mark.parametrize("command", ["pretrain", "probe"])
def test_a_folder_that_holds_a_run_stays_as_it_is(command, pretrained, probed, ct_list):
    folder = pretrained if command == "pretrain" else probed
    before = files_of(folder)
    with pytest.raises(FileExistsError, match="already holds a run"):
        if command == "pretrain":
            pretrain("vox2vec", ct_list, ["ct"], folder, overrides={**PRETRAINING, "seed": 1})
        else:
            train_segmentation("linear_probe", ct_list, ["ct"], folder, backbone=pretrained, overrides=SEGMENTATION)
    assert files_of(folder) == before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"num_labels": 3}, ValueError, r"list\.json, section 'training': 3 labelled cases.*there are 2"),
        ({"num_labels": 0}, ValueError, "0 labelled cases are asked for"),
        ({"training": []}, ValueError, r"list\.json has no case in section 'training'"),
        ({"data": ["xray"]}, FileNotFoundError, "no recipe 'xray' in data.*ct.*mr"),
        ({"layers": ["reference"]}, FileNotFoundError, "no recipe 'reference'.*fine_tune_reference"),
        ({"backbone": "nowhere"}, FileNotFoundError, r"no folder .*nowhere"),
        ({"backbone": "probe"}, FileNotFoundError, r"holds no backbone\.pt.*finished pretraining run"),
        ({"overrides": {"max_epoch": 3}}, ValueError, "did you mean --max_epochs"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_is_written(changes, error, message, ct_list, probed, tmp_path):
    options = {"data": ["ct"], "overrides": {**SEGMENTATION, **NETWORK}, **changes}
    sections = {"training": options.pop("training")} if "training" in options else {}
    datalist = with_sections(ct_list, tmp_path, **sections)
    if "backbone" in options:
        options["backbone"] = probed if options["backbone"] == "probe" else tmp_path / options["backbone"]
    with pytest.raises(error, match=message):
        train_segmentation("linear_probe", datalist, output_dir=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_the_last_epoch_is_validated_whatever_the_interval(ct_list, tmp_path):
    overrides = {**SEGMENTATION, **NETWORK, "max_epochs": 2, "val_interval": 9}
    weights = train_segmentation("from_scratch", ct_list, ["ct"], tmp_path / "run", num_labels=1, overrides=overrides)
    last = torch.load(tmp_path / "run" / "checkpoints" / "step=0000004.pt", weights_only=True)
    kept = torch.load(weights, weights_only=True)
    assert kept and all(torch.equal(kept[name], last["average"][f"module.{name}"]) for name in kept)


def test_without_validation_cases_the_last_weights_are_kept(ct_list, tmp_path):
    datalist = with_sections(ct_list, tmp_path, validation=[])
    overrides = {**SEGMENTATION, **NETWORK, "max_epochs": 2}
    weights = train_segmentation("from_scratch", datalist, ["ct"], tmp_path / "run", num_labels=1, overrides=overrides)
    last = torch.load(tmp_path / "run" / "checkpoints" / "step=0000004.pt", weights_only=True)["average"]
    kept = torch.load(weights, weights_only=True)
    assert kept and all(torch.equal(kept[name], last[f"module.{name}"]) for name in kept)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.json"):
        pretrain("kats", tmp_path / "gone.json", ["ct"], tmp_path / "run")


def test_pretraining_without_a_case_is_said_before_anything_is_written(ct_list, tmp_path):
    datalist = with_sections(ct_list, tmp_path, training=[], unlabeled=[])
    with pytest.raises(ValueError, match=r"no case in section 'training\+unlabeled'"):
        pretrain("kats", datalist, ["ct"], tmp_path / "run", overrides=PRETRAINING)
    assert not (tmp_path / "run").exists()


def test_rows_are_of_every_case_and_class_on_the_grid_of_the_label(run, ct_list):
    rows = read_rows(evaluate(run))
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    (case,) = listed["test"]
    label = np.asarray(nib.load(ct_list.parent / case["label"]).dataobj)
    names = {int(value): name for value, name in listed["labels"].items() if value != "0"}
    assert [row["class"] for row in rows] == list(names.values())
    assert [row["reference_voxels"] for row in rows] == [int((label == value).sum()) for value in names]
    assert {tuple(row) for row in rows} == {FIELDS} or all(row.keys() == set(FIELDS) for row in rows)
    identity = {"method": "kats", "setting": "linear_probe", "labels": 1, "fold": 0, "case": case["case"]}
    assert all({key: row[key] for key in identity} == identity for row in rows)


def test_rows_of_a_former_evaluation_are_replaced(run):
    first = read_rows(evaluate(run))
    assert read_rows(evaluate(run)) == first
    cases = {row["case"] for row in read_rows(evaluate(run, section="validation"))}
    assert cases == {"phantom_ct_002"}


def test_the_fast_evaluation_gives_the_rows_of_the_plain_one(run):
    plain, fast = read_rows(evaluate(run)), read_rows(evaluate(run, layers=["fast_evaluate"]))
    config = json.loads((run / "evaluate.json").read_text(encoding="utf-8"))
    assert config["evaluate"]["inferer"]["_target_"].endswith("PlannedInferer")
    assert [(row["case"], row["class"], row["reference_voxels"]) for row in fast] == [
        (row["case"], row["class"], row["reference_voxels"]) for row in plain
    ]
    assert np.mean([row["dice"] for row in fast]) == pytest.approx(np.mean([row["dice"] for row in plain]), abs=0.05)


def test_a_scan_with_nan_is_refused_by_name_and_leaves_the_former_rows(run, ct_list, tmp_path):
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    scan = nib.load(ct_list.parent / listed["test"][0]["image"])
    voxels = scan.get_fdata(dtype=np.float32)
    voxels[3] = np.nan
    nib.save(nib.Nifti1Image(voxels, scan.affine), tmp_path / "bad.nii.gz")
    case = {**listed["test"][0], "image": str(tmp_path / "bad.nii.gz")}
    rows = evaluate(run)
    before = rows.read_bytes()
    with pytest.raises(ValueError, match=rf"{tmp_path}/bad\.nii\.gz cannot be used: \d+ of its voxels are NaN"):
        evaluate(run, with_sections(ct_list, tmp_path, test=[case], validation=[]))
    assert rows.read_bytes() == before


def test_another_list_and_the_predictions_can_be_asked_for(run, ct_list, tmp_path):
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    datalist = with_sections(ct_list, tmp_path, test=[], validation=[])
    rows = read_rows(
        evaluate(
            run, datalist, "training", {"prediction_dir": str(tmp_path / "out"), "evaluate::inferer::overlap": 0.5}
        )
    )
    names = sorted(case["case"] for case in listed["training"])
    assert sorted({row["case"] for row in rows}) == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{name}.nii.gz" for name in names]
    image = nib.load(ct_list.parent / listed["training"][0]["image"])
    prediction = nib.load(tmp_path / "out" / f"{listed['training'][0]['case']}.nii.gz")
    assert prediction.shape == image.shape
    np.testing.assert_allclose(prediction.affine, image.affine, atol=1e-4)
    assert json.loads((run / "evaluate.json").read_text(encoding="utf-8"))["evaluate"]["inferer"]["overlap"] == 0.5


@pytest.mark.parametrize(
    ("folder", "section", "error", "message"),
    [
        ("pretrained", "test", ValueError, "is a pretraining run; probe or fine-tune"),
        ("nowhere", "test", FileNotFoundError, r"holds no config\.json"),
        ("unvalidated", "test", FileNotFoundError, r"holds no model\.pt"),
        ("run", "unlabelled", ValueError, "no section 'unlabelled'"),
    ],
)
def test_what_cannot_be_evaluated_is_said(folder, section, error, message, run, pretrained, tmp_path):
    (tmp_path / "unvalidated").mkdir()
    shutil.copy(run / "config.json", tmp_path / "unvalidated")
    places = {"pretrained": pretrained, "run": run}
    with pytest.raises(error, match=message):
        evaluate(places.get(folder, tmp_path / folder), section=section)
    assert not (run / "evaluate.json").exists()


def test_a_label_on_another_grid_than_its_scan_is_an_error(run, ct_list, tmp_path):
    (case,) = json.loads(ct_list.read_text(encoding="utf-8"))["test"]
    label = nib.load(ct_list.parent / case["label"])
    moved = label.affine.copy()
    moved[0, 3] += 30
    nib.save(nib.Nifti1Image(np.asarray(label.dataobj), moved), tmp_path / "moved.nii.gz")
    image = str(ct_list.parent / case["image"])
    entry = {"case": "moved", "image": image, "label": str(tmp_path / "moved.nii.gz")}
    with pytest.raises(ValueError, match="lies on another grid"):
        evaluate(run, with_sections(ct_list, tmp_path, test=[entry]))
    assert not (run / "rows.jsonl").exists()


def test_a_finished_run_that_is_resumed_stays_as_it_is(pretrained, ct_list, tmp_path):
    folder = Path(shutil.copytree(pretrained, tmp_path / "copy"))
    pretrain("kats", ct_list, ["ct"], folder, overrides=PRETRAINING, resume=True)
    first, again = (torch.load(path / "backbone.pt", weights_only=True) for path in (pretrained, folder))
    assert all(torch.equal(again[name], first[name]) for name in first)
    started = re.compile(r'"started": "(.*)"')
    records = [started.search((path / "run.json").read_text(encoding="utf-8"))[1] for path in (pretrained, folder)]
    assert records[0] == records[1]
