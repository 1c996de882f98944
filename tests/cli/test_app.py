import json
import sys

import pytest

from medssl.cli.app import main
from medssl.evaluation.metrics import read_rows
from tests.cli.errors import require_error
from tests.tiny import PRETRAINING, SEGMENTATION, arguments


def test_the_commands_make_a_line_from_scans_to_a_report(medssl, ct_list, tmp_path):
    common = ("--datalist", ct_list, "--data", "ct")
    pretrained, probed, tuned, scratch = (tmp_path / name for name in ("pretrained", "probed", "tuned", "scratch"))
    status, out, _ = medssl("pretrain", "kats", *common, "--out", pretrained, *arguments(PRETRAINING))
    assert (status, out) == (0, f"Backbone: {pretrained / 'backbone.pt'}\n")
    few = (*common, "--labels", 1, *arguments(SEGMENTATION))
    status, out, _ = medssl("probe", *few, "--backbone", pretrained, "--out", probed)
    assert (status, out.splitlines()[-1]) == (0, f"Network: {probed / 'model.pt'}")
    assert medssl("finetune", *few, "--backbone", pretrained, "--out", tuned, "--fold", 1)[0] == 0
    assert medssl("finetune", *few, "--out", scratch, "--base_channels", 4, "--num_levels=2")[0] == 0
    for run, setting in ((probed, "linear_probe"), (tuned, "fine_tune"), (scratch, "from_scratch")):
        status, out, _ = medssl("evaluate", run)
        assert status == 0
        assert "mean" in out
        assert out.endswith(f"Rows: {run / 'rows.jsonl'}\n")
        assert {row["setting"] for row in read_rows(run / "rows.jsonl")} == {setting}
    status, out, _ = medssl("report", tmp_path, "--out", tmp_path / "report")
    assert (status, out) == (0, f"Report: {tmp_path / 'report' / 'report.md'}\n")
    assert "linear_probe" in (tmp_path / "report" / "summary.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("pretrain katz --datalist LIST --data ct --out RUN", ["no recipe 'katz'", "kats, "]),
        ("pretrain kats --datalist LIST --data xray --out RUN", ["no recipe 'xray'", "ct, "]),
        ("pretrain kats --datalist LIST --data ct --with nothing --out RUN", ["no recipe 'nothing'", "kats_reference"]),
        ("pretrain kats --datalist GONE --data ct --out RUN", ["gone.json"]),
        ("pretrain kats --datalist LIST --data ct --out RUN --max_epoch 3", ["--max_epochs"]),
        ("pretrain kats --datalist LIST --data ct --out RUN stray", ["'stray' is not a setting"]),
        ("probe --datalist LIST --data ct --out RUN --labels 3", ["3 labelled cases are asked for", "there are 2"]),
        ("probe --datalist LIST --data ct --out RUN --backbone GONE", ["no folder", "gone.json", "abdomen-ct"]),
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


def test_the_error_of_one_rank_is_a_line_of_its_own_beside_the_progress_of_another(medssl, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    print("  0%|          | 0/3 [00:00<?, ?step/s]", end="", file=sys.stderr)
    require_error(medssl("check", tmp_path / "gone.json"), "gone.json")


def test_what_nobody_expected_keeps_its_traceback(medssl, monkeypatch, tmp_path):
    def fail(*_):
        raise KeyError("a mistake in the program")

    monkeypatch.setattr("medssl.workflows.checking.check_report", fail)
    monkeypatch.setattr(sys, "argv", ["medssl", "check", str(tmp_path)])
    with pytest.raises(KeyError):
        main()


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
