import json
import signal
import time
from concurrent.futures import Future

import pytest
import yaml

from medssl.evaluation.metrics import read_rows
from medssl.workflows import run_pool
from medssl.workflows.protocol import run_protocol
from medssl.workflows.protocol_plan import cells
from tests.tiny import NETWORK, PRETRAINING, SEGMENTATION, files_of, start

PLAN = {
    "data": ["ct"],
    "labels": [1],
    "folds": [0],
    "pretrain": {key: value for key, value in PRETRAINING.items() if key not in NETWORK},
    "segmentation": SEGMENTATION,
    "backbones": {
        "random": {"overrides": NETWORK},
        "kats": {"method": "kats", "layers": ["kats_reference"], "overrides": NETWORK},
    },
    "settings": {
        "linear_probe": {"backbones": ["random", "kats"], "overrides": {"learning_rate": 0.01}},
        "fine_tune": {"backbones": ["kats"], "overrides": {"weight_decay": 0.0}},
        "from_scratch": {"backbones": ["random"]},
    },
}


class HereExecutor:
    """Stands in for the process pool: runs each job at once, in this process."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture
def plan_file(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(PLAN))
    return str(path)


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(run_pool, "ProcessPoolExecutor", HereExecutor)


def test_every_cell_is_trained_once_and_reported(plan_file, ct_list, tmp_path, in_this_process):
    out = tmp_path / "out"
    report = run_protocol(plan_file, ct_list, out)
    assert report == out / "report" / "report.md"
    text = report.read_text(encoding="utf-8")
    assert all(word in text for word in ("kats", "random", "linear", "scratch"))
    assert [path.name for path in (out / "pretrain").iterdir()] == ["kats"]
    for setting, name, num_labels, fold in cells(PLAN):
        folder = out / setting / name / f"labels={num_labels}" / f"fold={fold}"
        assert {row["method"] for row in read_rows(folder / "rows.jsonl")} == {name}
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert (record["setting"], record["labels"], record["finished"] is None) == (setting, 1, False)
        assert (record["backbone_sha256"] is None) == (name == "random")
    before = files_of(out)
    run_protocol(plan_file, ct_list, out)
    after = files_of(out)
    assert {name: kept for name, kept in after.items() if not name.startswith("report")} == {
        name: kept for name, kept in before.items() if not name.startswith("report")
    }


def test_a_setting_may_have_a_name_and_layers_of_its_own(ct_list, tmp_path, in_this_process):
    plan = {
        **PLAN,
        "backbones": {
            "resnet": {
                "layers": ["resnet18"],
                "overrides": {"base_channels": 4},
                "segmentation": {"patch_size": [16, 8, 8]},
            }
        },
        "settings": {
            "reference_fine_tune": {
                "setting": "from_scratch",
                "layers": ["fine_tune_reference"],
                "backbones": ["resnet"],
            }
        },
    }
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    run_protocol(str(path), ct_list, tmp_path / "out")
    folder = tmp_path / "out/reference_fine_tune/resnet/labels=1/fold=0"
    assert {row["setting"] for row in read_rows(folder / "rows.jsonl")} == {"reference_fine_tune"}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["backbone_def"]["_target_"].endswith("ResNet")
    assert config["head_def"]["_target_"].endswith("LinearHead")
    assert config["patch_size"] == [16, 8, 8]


def stop(folder, weights, checkpoint):
    """Leave of a finished run what a kill would have left."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps({**record, "finished": None}))
    (folder / "rows.jsonl").unlink(missing_ok=True)
    if not checkpoint:
        (folder / "checkpoints" / "step=0000002.pt").unlink()
    if weights:
        (folder / weights).write_bytes(b"of an early validation")


def test_runs_that_were_stopped_are_finished(plan_file, ct_list, tmp_path, in_this_process):
    out = tmp_path / "out"
    run_protocol(plan_file, ct_list, out)
    before = {path: path.read_text(encoding="utf-8") for path in out.rglob("rows.jsonl")}
    probes = out / "linear_probe"
    (probes / "kats/labels=1/fold=0/rows.jsonl").unlink()
    stop(out / "from_scratch/random/labels=1/fold=0", "model.pt", checkpoint=False)
    stop(out / "fine_tune/kats/labels=1/fold=0", None, checkpoint=True)
    (out / "pretrain/kats/backbone.pt").unlink()
    stop(out / "pretrain/kats", None, checkpoint=True)
    run_protocol(plan_file, ct_list, out)
    assert {path: path.read_text(encoding="utf-8") for path in out.rglob("rows.jsonl")} == before


@pytest.mark.slow
def test_a_stopped_protocol_continues_in_fresh_processes(plan_file, ct_list, tmp_path):
    report = run_protocol(plan_file, ct_list, tmp_path / "out", num_processes=2)
    before = files_of(tmp_path / "out" / "linear_probe")
    assert run_protocol(plan_file, ct_list, tmp_path / "out", num_processes=2) == report
    assert files_of(tmp_path / "out" / "linear_probe") == before


def test_a_plan_without_a_key_is_named(ct_list, tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in PLAN.items() if key not in ("folds", "labels")}))
    with pytest.raises(ValueError, match=r"plan\.yaml lacks labels, folds"):
        run_protocol(str(path), ct_list, tmp_path / "out")


@pytest.mark.parametrize(
    ("labels", "layers", "message"),
    [
        ([1, 3], [], "3 labelled"),
        ([1, 2], ["mean_teacher"], "no case of its section 'training' is left without label: lower --labels"),
    ],
    ids=["labels", "unlabelled"],
)
def test_cases_that_a_late_cell_would_lack_are_said_at_once(labels, layers, message, ct_list, tmp_path):
    # The list has two labelled cases.
    listed = json.loads(ct_list.read_text(encoding="utf-8")) | {"unlabeled": []}
    path, datalist = tmp_path / "plan.yaml", ct_list.parent / "without_unlabeled.json"
    setting = {"backbones": ["random"], "layers": layers, "overrides": {"unlabeled_training": True}}
    path.write_text(yaml.safe_dump({**PLAN, "labels": labels, "settings": {"from_scratch": setting}}))
    datalist.write_text(json.dumps(listed), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        run_protocol(str(path), datalist, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_killed_protocol_leaves_no_process_and_continues_with_the_same_rows(ct_list, tmp_path):
    plan_file = tmp_path / "plan.yaml"
    plan_file.write_text(yaml.safe_dump({**PLAN, "settings": {"linear_probe": PLAN["settings"]["linear_probe"]}}))
    command = ["protocol", plan_file, "--datalist", ct_list, "--processes", "2", "--out"]
    whole = start(*command, tmp_path / "whole", cwd=tmp_path)
    _, errors = whole.communicate(timeout=300)
    assert whole.returncode == 0, errors
    for moment in ("pretrain/kats/run.json", "linear_probe/random/labels=1/fold=0/run.json"):
        killed = start(*command, tmp_path / "out", cwd=tmp_path)
        while not (tmp_path / "out" / moment).exists():
            assert killed.poll() is None
            time.sleep(0.05)
        killed.kill()
        # Ends only when no process holds the other end of the pipe.
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL
    continued = start(*command, tmp_path / "out", cwd=tmp_path)
    _, errors = continued.communicate(timeout=300)
    assert continued.returncode == 0, errors
    rows = {
        name: {path.relative_to(tmp_path / name): read_rows(path) for path in (tmp_path / name).rglob("rows.jsonl")}
        for name in ("whole", "out")
    }
    assert len(rows["out"]) == 2
    assert rows["out"] == rows["whole"]


def test_a_backbone_may_be_shipped_weights(ct_list, tmp_path, in_this_process):
    plan = {**PLAN, "backbones": {"shipped": {"weights": "abdomen-ct"}}}
    plan["settings"] = {"linear_probe": {"backbones": ["shipped"]}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    run_protocol(str(tmp_path / "plan.yaml"), ct_list, tmp_path / "runs")
    run = tmp_path / "runs" / "linear_probe" / "shipped" / "labels=1" / "fold=0"
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["backbone_weights"].endswith("abdomen_ct/models/model.pt") and config["base_channels"] == 16
    assert {row["method"] for row in read_rows(run / "rows.jsonl")} == {"shipped"}


def test_probes_of_one_backbone_share_its_features(ct_list, tmp_path, in_this_process):
    plan = {**PLAN, "labels": [1, 2], "backbones": {"shipped": {"weights": "abdomen-ct"}}}
    plan["settings"] = {"linear_probe": {"backbones": ["shipped"]}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    run_protocol(str(tmp_path / "plan.yaml"), ct_list, tmp_path / "runs")
    # One for each of the two labelled cases and the validation case, which the two probes asked for five times.
    assert len(list((tmp_path / "runs" / "features" / "shipped").glob("*.json"))) == 3
    assert not list((tmp_path / "runs" / "linear_probe").rglob("features"))
