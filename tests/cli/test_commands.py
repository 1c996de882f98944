import json
import shutil
import sys

import pytest

from medssl.cli.app import main
from medssl.evaluation.metrics import read_rows
from tests.slices import write_pictures
from tests.tiny import PRETRAINING, SEGMENTATION, arguments, files_of


@pytest.fixture
def medssl(monkeypatch, capsys):
    """Give a function that runs a command line and returns exit status, output and errors."""

    def run(*command):
        monkeypatch.setattr(sys, "argv", ["medssl", *map(str, command)])
        with pytest.raises(SystemExit) as exited:
            main()
        printed = capsys.readouterr()
        return exited.value.code or 0, printed.out, printed.err

    return run


def require_error(result, *words):
    """Check that a command ended with one clear line and exit status 1."""
    status, _, errors = result
    assert status == 1
    lines = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert "Traceback" not in errors
    assert all(word in lines[0] for word in words), lines


def test_the_commands_make_a_line_from_scans_to_a_report(medssl, ct_list, tmp_path):
    common = ("--datalist", ct_list, "--data", "ct")
    pretrained, probed, tuned, scratch = (tmp_path / name for name in ("pretrained", "probed", "tuned", "scratch"))
    status, out, _ = medssl("pretrain", "kats", *common, "--out", pretrained, *arguments(PRETRAINING))
    assert (status, out) == (0, f"Backbone: {pretrained / 'backbone.pt'}\n")
    few = (*common, "--labels", 1, *arguments(SEGMENTATION))
    status, out, _ = medssl("probe", *few, "--backbone", pretrained, "--out", probed)
    assert (status, out) == (0, f"Network: {probed / 'model.pt'}\n")
    assert medssl("finetune", *few, "--backbone", pretrained, "--out", tuned, "--fold", 1)[0] == 0
    assert medssl("finetune", *few, "--out", scratch, "--base_channels", 4, "--num_levels=2")[0] == 0
    for run, setting in ((probed, "linear_probe"), (tuned, "fine_tune"), (scratch, "from_scratch")):
        status, out, _ = medssl("evaluate", run)
        assert (status, out) == (0, f"Rows: {run / 'rows.jsonl'}\n")
        assert {row["setting"] for row in read_rows(run / "rows.jsonl")} == {setting}
    status, out, _ = medssl("report", tmp_path, "--out", tmp_path / "report")
    assert (status, out) == (0, f"Report: {tmp_path / 'report' / 'report.md'}\n")
    assert "linear_probe" in (tmp_path / "report" / "summary.csv").read_text(encoding="utf-8")


def test_a_list_is_made_from_folders_and_checked(medssl, ct_list, tmp_path):
    images, labels, made = ct_list.parent / "images", ct_list.parent / "labels", tmp_path / "list.json"
    options = ("--labels", labels, "--modality", "ct", "--validation", 1, "--test", 1)
    status, out, _ = medssl("datalist", images, "--out", made, *options)
    assert (status, out) == (0, f"Data list: {made} (2 training, 1 validation, 1 test, 1 unlabeled)\n")
    assert json.loads(made.read_text(encoding="utf-8"))["name"] == "images"
    status, out, _ = medssl("check", made, "--data", "ct", "--data", "phantom")
    assert status == 0
    assert out.splitlines()[-1].startswith("5 cases, 0 errors")


def test_volumes_are_cut_into_slices(medssl, mr_list, tmp_path):
    status, out, _ = medssl("slices", mr_list, "--out", tmp_path / "slices", "--axis", 1)
    made = tmp_path / "slices" / "datalist.json"
    assert (status, out) == (0, f"Data list: {made}\n")
    listed = json.loads(made.read_text(encoding="utf-8"))
    assert (listed["spatial_dims"], len({case["group"] for case in listed["training"]})) == (2, 2)
    status, out, _ = medssl("folds", made, "--out", tmp_path / "folds", "--count", 3)
    assert status == 0 and len(out.splitlines()) == 3
    require_error(medssl("slices", made, "--out", tmp_path / "again"), "lists 2D images already")


def test_a_list_is_made_from_pictures_and_colour_masks(medssl, slice_list, tmp_path):
    write_pictures(slice_list, tmp_path / "pictures", colours=True)
    made = tmp_path / "list.json"
    folders = ("datalist", tmp_path / "pictures", "--labels", tmp_path / "pictures", "--out", made)
    require_error(medssl(*folders), "is a mask", "say in label_colours")
    options = ("--label-colours", "0=else,1=#ff0000,2=#0000ff", "--group", r"(.*)_z", "--test", 1)
    status, out, _ = medssl(*folders, *options)
    assert (status, out) == (0, f"Data list: {made} (48 training, 0 validation, 16 test, 16 unlabeled)\n")
    status, out, _ = medssl("check", made, "--data", "image_2d", "--data", "image_rgb_2d")
    assert status == 0
    status, out, _ = medssl("check", made, "--data", "image_2d")
    assert status == 1 and "in_channels is 1" in out


def test_a_bad_list_is_one_line_a_case_and_exit_status_1(medssl, ct_list, tmp_path):
    shutil.copytree(ct_list.parent, tmp_path / "data")
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    broken = tmp_path / "data" / listed["training"][0]["image"]
    broken.write_bytes(broken.read_bytes()[:500])
    status, out, _ = medssl("check", tmp_path / "data" / "datalist.json")
    lines = out.splitlines()
    assert status == 1
    assert len(lines) == 6
    assert lines[0].startswith(f"training {listed['training'][0]['case']}: error: ")
    assert all(line.endswith(": ok") for line in lines[1:-1])
    assert lines[-1] == "5 cases, 1 errors, 0 warnings"


def test_cases_are_prepared_once_and_trained_on(medssl, ct_list, tmp_path):
    prepare = ("prepare", ct_list, "--data", "ct", "--out", tmp_path / "store", "--processes", 1)
    spacing = arguments({"spacing": PRETRAINING["spacing"]})
    said = f"Store: {tmp_path / 'store'} "
    assert medssl(*prepare, *spacing)[:2] == (0, f"{said}(3 made, 0 kept, 0 failed)\n")
    assert medssl(*prepare, "--verify", *spacing)[:2] == (0, f"{said}(0 made, 3 kept, 0 failed)\n")
    command = ("pretrain", "kats", "--datalist", ct_list, "--data", "ct", "--store", tmp_path / "store")
    assert medssl(*command, "--out", tmp_path / "run", *arguments(PRETRAINING))[0] == 0
    require_error(medssl(*command, "--out", tmp_path / "other"), "other settings", "pixdim")


def test_a_case_that_cannot_be_prepared_is_one_line_and_exit_status_1(medssl, ct_list, tmp_path):
    shutil.copytree(ct_list.parent, tmp_path / "data")
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    broken = tmp_path / "data" / listed["unlabeled"][0]["image"]
    broken.write_bytes(broken.read_bytes()[:500])
    command = ("prepare", tmp_path / "data" / "datalist.json", "--data", "ct", "--out", tmp_path / "store")
    status, out, _ = medssl(*command, "--processes", 1)
    assert status == 1
    assert out.splitlines()[0].startswith(f"{listed['unlabeled'][0]['case']}: error: ") and str(broken) in out
    assert out.splitlines()[1] == f"Store: {tmp_path / 'store'} (2 made, 0 kept, 1 failed)"


def test_training_on_a_broken_scan_names_it(medssl, ct_list, tmp_path):
    shutil.copytree(ct_list.parent, tmp_path / "data")
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    broken = tmp_path / "data" / listed["unlabeled"][0]["image"]
    broken.write_bytes(broken.read_bytes()[:500])
    datalist = tmp_path / "data" / "datalist.json"
    command = ("pretrain", "kats", "--datalist", datalist, "--data", "ct", "--out", tmp_path / "run")
    require_error(medssl(*command, *arguments(PRETRAINING)), broken.name)
    assert not (tmp_path / "run" / "backbone.pt").exists()


def test_a_folder_that_holds_a_run_is_refused_and_stays_as_it_is(medssl, ct_list, pretrained):
    before = files_of(pretrained)
    command = ("pretrain", "vox2vec", "--datalist", ct_list, "--data", "ct", "--out", pretrained)
    require_error(medssl(*command), str(pretrained), "already holds a run", "--resume")
    assert files_of(pretrained) == before


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("pretrain katz --datalist LIST --data ct --out RUN", ["no recipe 'katz'", "kats, "]),
        ("pretrain kats --datalist LIST --data xray --out RUN", ["no recipe 'xray'", "ct, "]),
        ("pretrain kats --datalist LIST --data ct --with nothing --out RUN", ["no recipe 'nothing'", "kats_reference"]),
        ("pretrain kats --datalist GONE --data ct --out RUN", ["gone.json"]),
        ("pretrain kats --datalist LIST --data ct --out RUN --max_epoch 3", ["--max_epochs"]),
        ("pretrain kats --datalist LIST --data ct --out RUN stray", ["'stray' is no setting"]),
        ("probe --datalist LIST --data ct --out RUN --labels 3", ["3 labelled cases are asked for", "there are 2"]),
        ("probe --datalist LIST --data ct --out RUN --backbone GONE", ["holds no config.json"]),
        ("evaluate PRETRAINED", ["is a pretraining run"]),
        ("evaluate GONE", ["holds no config.json"]),
        ("check GONE", ["gone.json"]),
        ("check EMPTY", ["empty.json", "no case"]),
        ("datalist NOWHERE --out RUN", ["nowhere"]),
        ("report NOWHERE --out RUN", ["no rows.jsonl below"]),
        ("protocol nothing --datalist LIST --out RUN", ["no recipe 'nothing'", "hippocampus"]),
    ],
)
def test_a_wrong_command_is_one_clear_line(command, words, medssl, ct_list, pretrained, tmp_path):
    (tmp_path / "nowhere").mkdir()
    empty = {"name": "none", "modality": "CT", "labels": {"0": "background"}, "training": []}
    (tmp_path / "empty.json").write_text(json.dumps(empty))
    places = {"LIST": ct_list, "PRETRAINED": pretrained, "RUN": tmp_path / "run", "GONE": tmp_path / "gone.json"}
    places |= {"EMPTY": tmp_path / "empty.json", "NOWHERE": tmp_path / "nowhere"}
    require_error(medssl(*(places.get(word, word) for word in command.split())), *words)
    assert not (tmp_path / "run").exists()


def test_what_nobody_expected_keeps_its_traceback(medssl, monkeypatch, tmp_path):
    def fail(*_):
        raise KeyError("a mistake in the program")

    monkeypatch.setattr("medssl.workflows.checking.check_report", fail)
    monkeypatch.setattr(sys, "argv", ["medssl", "check", str(tmp_path)])
    with pytest.raises(KeyError):
        main()


def test_packing_names_the_bundle(medssl, probed, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "medssl.packaging.pack.pack", lambda *options, **more: asked.append((*options, more)) or tmp_path / "bundle"
    )
    status, out, _ = medssl("pack", probed, "--name", "toy", "--out", tmp_path)
    assert (status, out) == (0, f"Bundle: {tmp_path / 'bundle'}\n")
    assert asked == [(probed, "toy", tmp_path, {"rehearsed": True})]


def test_help_says_what_every_command_is_for(medssl):
    status, out, _ = medssl("--help")
    assert status == 0
    for command in (
        "datalist",
        "check",
        "pretrain",
        "probe",
        "finetune",
        "evaluate",
        "report",
        "protocol",
        "pack",
        "bundle",
        "weights",
        "demo",
    ):
        assert f" {command} " in out


def test_a_cached_probe_keeps_its_features_where_it_is_told(medssl, ct_list, tmp_path):
    sizes = {**SEGMENTATION, "base_channels": 4, "num_levels": 2, "patches_per_case": 2, "rows_per_patch": 50}
    command = ("probe", "--datalist", ct_list, "--data", "ct", "--labels", 1, *arguments(sizes))
    features = tmp_path / "features"
    status, out, _ = medssl(*command, "--out", tmp_path / "run", "--cached", "--features", features)
    assert (status, out) == (0, f"Network: {tmp_path / 'run' / 'model.pt'}\n")
    assert len(list(features.glob("*.json"))) == 2
    paper = ("--with", "paper_probe", "--features", features)
    require_error(medssl(*command, "--out", tmp_path / "other", *paper), "add --cached")
    assert not (tmp_path / "other").exists()
