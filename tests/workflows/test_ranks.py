"""The commands under torchrun, on two ranks of the CPU."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from medssl.phantom.dataset import write_phantom
from medssl.workflows.training import evaluate, pretrain
from tests.conftest import CASES, SIZE
from tests.tiny import PRETRAINING, SEGMENTATION, arguments, files_of, start
from tests.torchrun import start_on_ranks

pytestmark = pytest.mark.slow
SHARED = {**PRETRAINING, "pairs_per_batch": 4, "steps_per_epoch": 3, "checkpoint_every": 3}


def on_ranks(*command, cwd):
    """Give exit status and messages of a command on two ranks."""
    process = start_on_ranks(*command, cwd=cwd)
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def pretraining(method, datalist, out, settings):
    return ["pretrain", method, "--datalist", datalist, "--data", "ct", "--out", out, *arguments(settings)]


def require_one_message(errors, status):
    """Give the only line with an error that the command itself wrote."""
    assert status != 0
    (line,) = (line for line in errors.splitlines() if line.startswith("Error: "))
    return line


def losses_of(folder):
    """Give the losses of each step by name, as TensorBoard shows them."""
    log = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {tag: [(event.step, event.value) for event in log.Scalars(tag)] for tag in log.Tags()["scalars"]}


def require_same_losses(found, expected, start=0):
    expected = {name: [value for value in values if value[0] > start] for name, values in losses_of(expected).items()}
    found = losses_of(found)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        steps, losses = zip(*found[name], strict=True)
        assert steps == tuple(step for step, _ in values)
        assert losses == pytest.approx([loss for _, loss in values], rel=1e-5, abs=1e-5), name


@pytest.mark.parametrize(("method", "num_workers"), [("kats", 0), ("vox2vec", 1)])
def test_pretraining_has_the_losses_of_one_process(method, num_workers, ct_list, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    settings = {**SHARED, "num_workers": num_workers}
    pretrain(method, ct_list, ["ct"], one, overrides=settings)
    status, errors = on_ranks(*pretraining(method, ct_list, two, settings), cwd=tmp_path)
    assert status == 0, errors
    require_same_losses(two, one)
    states = [torch.load(folder / "backbone.pt", weights_only=True) for folder in (one, two)]
    assert list(states[0]) == list(states[1])
    configs = [json.loads((folder / "config.json").read_text(encoding="utf-8")) for folder in (one, two)]
    assert {**configs[0], "output_dir": ""} == {**configs[1], "output_dir": ""}
    recipe = json.loads((two / "run.json").read_text(encoding="utf-8"))["recipe"]
    assert Path(recipe[-1]).name == "multi_gpu.yaml"
    assert len(list(two.glob("tensorboard/events.*"))) == len(list(one.glob("tensorboard/events.*")))


def test_the_switches_of_a_fast_step_work_on_ranks(ct_list, tmp_path):
    losses = []
    for name, run in (("one", start), ("two", start_on_ranks)):
        out = tmp_path / name
        process = run(*pretraining("kats", ct_list, out, SHARED), "--with", "fast", cwd=tmp_path)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        losses.append([value for _, value in losses_of(out)["loss"]])
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize("first", ["one", "two"])
def test_a_run_goes_on_with_another_number_of_ranks(first, ct_list, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    longer = {**SHARED, "max_epochs": 2}
    pretrain("kats", ct_list, ["ct"], whole, overrides=longer)
    for number, settings in enumerate((SHARED, longer)):
        if (first == "one") == (number == 0):
            pretrain("kats", ct_list, ["ct"], broken, overrides=settings, resume=number > 0)
        else:
            command = [*pretraining("kats", ct_list, broken, settings), *(["--resume"] if number else [])]
            status, errors = on_ranks(*command, cwd=tmp_path)
            assert status == 0, errors
        if number == 0:
            shutil.rmtree(broken / "tensorboard")
    require_same_losses(broken, whole, start=3)


def test_a_folder_that_holds_a_run_is_refused_by_all_ranks(pretrained, ct_list, tmp_path):
    before = files_of(pretrained)
    status, errors = on_ranks(*pretraining("kats", ct_list, pretrained, SHARED), cwd=tmp_path)
    assert "already holds a run" in require_one_message(errors, status)
    assert files_of(pretrained) == before


def test_a_batch_that_does_not_divide_is_said_before_anything_is_written(ct_list, tmp_path):
    command = pretraining("kats", ct_list, tmp_path / "run", {**SHARED, "pairs_per_batch": 3})
    status, errors = on_ranks(*command, cwd=tmp_path)
    assert "2 ranks cannot share a batch of 3 evenly" in require_one_message(errors, status)
    assert not (tmp_path / "run").exists()


def test_a_damaged_scan_met_by_one_rank_ends_all_with_its_message(tmp_path):
    datalist = write_phantom(tmp_path / "ct", **CASES, **SIZE)
    listed = json.loads(datalist.read_text(encoding="utf-8"))
    scan = datalist.parent / listed["training"][0]["image"]
    scan.write_bytes(scan.read_bytes()[:-1000])
    # Each rank reads the scan of its own pair, when it needs it.
    settings = {**SHARED, "pairs_per_batch": 2, "volumes_per_batch": 2, "cache_rate": 0.0}
    start = time.monotonic()
    status, errors = on_ranks(*pretraining("kats", datalist, tmp_path / "run", settings), cwd=tmp_path)
    message = require_one_message(errors, status)
    assert message.startswith("Error: Rank ")
    assert scan.name in message
    assert time.monotonic() - start < 240


def processes_below(pid):
    """Give the ranks that torchrun started, by rank."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    ranks = {}
    for child in children:
        for entry in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            if entry.startswith(b"RANK="):
                ranks[int(entry[5:])] = int(child)
    return ranks


def test_a_killed_rank_ends_all(ct_list, tmp_path):
    settings = {**SHARED, "max_epochs": 1000}
    process = start_on_ranks(*pretraining("kats", ct_list, tmp_path / "run", settings), cwd=tmp_path)
    while not list(tmp_path.glob("run/checkpoints/step=*.pt")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    ranks = processes_below(process.pid)
    os.kill(ranks[1], signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "SIGKILL" in errors
    assert sum(line.startswith("Error: ") for line in errors.splitlines()) <= 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks.values())


def test_probing_asks_for_one_process(ct_list, pretrained, tmp_path):
    command = ["probe", "--datalist", ct_list, "--data", "ct", "--out", tmp_path / "run", "--backbone", pretrained]
    status, errors = on_ranks(*command, *arguments(SEGMENTATION), cwd=tmp_path)
    assert "run in one process; start the command without torchrun" in require_one_message(errors, status)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("num_cases", [1, 3])
def test_the_rows_of_the_ranks_are_those_of_one_process(num_cases, probed, ct_list, tmp_path):
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    cases = [*listed["test"], *listed["training"]][:num_cases]
    for case in cases:
        case |= {key: str(ct_list.parent / case[key]) for key in ("image", "label")}
    datalist = tmp_path / "list.json"
    datalist.write_text(json.dumps({**listed, "test": cases, "training": [], "validation": [], "unlabeled": []}))
    one, two = (Path(shutil.copytree(probed, tmp_path / name)) for name in ("one", "two"))
    evaluate(one, datalist)
    status, errors = on_ranks("evaluate", two, "--datalist", datalist, cwd=tmp_path)
    assert status == 0, errors
    rows = (two / "rows.jsonl").read_text(encoding="utf-8")
    assert rows == (one / "rows.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["case"] for line in rows.splitlines()][:: len(listed["labels"]) - 1] == [
        case["case"] for case in cases
    ]
    assert not (two / ".rows").exists()
