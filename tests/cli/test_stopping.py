"""Ctrl-C and SIGTERM: an answer at once, the documented status, nothing half written, and a way to go on."""

import json
import shutil
import signal
import subprocess
import sys

import pytest
import yaml

from medssl.cli.stopping import answer_signals
from tests.forked import Forked
from tests.killing_commands import PLAN, Inputs
from tests.stopping_commands import STATUS, faults, stopped, temporary_entries
from tests.tiny import PRETRAINING, SIZES, arguments
from tests.writing_commands import WRITERS

LONG = {**PRETRAINING, "max_epochs": 400, "checkpoint_every": 1000, "panel_every": 5000}


def prepare(datalist, out, *options):
    return ["prepare", datalist, "--data", "ct", "--out", out, f"--spacing={SIZES['spacing']}", *options]


def list_of(num_cases, ct_list, path, section="unlabeled"):
    """Write a list that names the first case of a section many times, and nothing else."""
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    case = listed[section][0]
    files = {key: str(ct_list.parent / case[key]) for key in ("image", "label") if key in case}
    listed |= {"unlabeled": [], "training": [], "validation": [], "test": []}
    listed[section] = [{"case": f"c{n}", **files} for n in range(num_cases)]
    path.write_text(json.dumps(listed), encoding="utf-8")
    return path


def test_a_signal_that_is_ignored_stays_ignored():
    former = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        answer_signals()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert callable(signal.getsignal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGINT, former[0])
        signal.signal(signal.SIGTERM, former[1])


CATCHING = """
import os, signal, time
from medssl.cli.stopping import answer_signals

# A shell starts what runs in its background with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
answer_signals()
try:
    os.kill(os.getpid(), signal.{name})
    time.sleep(60)
except BaseException:
    pass
try:
    time.sleep(60)
finally:
    time.sleep(1.5)
    print("cleaned up")
"""


@pytest.mark.parametrize("number", STATUS)
def test_code_that_catches_everything_does_not_go_on_and_cleaning_up_is_left_alone(number):
    code = CATCHING.format(name=number.name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert done.returncode in (STATUS[number], -signal.SIGINT)
    assert done.stdout == "cleaned up\n"


HALF_MADE = """
import os, signal
from medssl.cli.stopping import answer_signals

class Bar:
    def __init__(self):
        os.kill(os.getpid(), signal.{name})
        self.position = 0

    def __del__(self):
        print(self.position)

signal.signal(signal.SIGINT, signal.default_int_handler)
answer_signals()
try:
    Bar()
except (KeyboardInterrupt, SystemExit):
    pass
"""


@pytest.mark.parametrize("number", STATUS)
def test_an_object_that_was_being_made_when_the_signal_came_prints_no_traceback(number):
    code = HALF_MADE.format(name=number.name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert "Stopping" in done.stderr and "Traceback" not in done.stderr, done.stderr


IMPORTING = """
import os, signal, sys
from pathlib import Path
from pydoc import locate

from medssl.cli import app

Path("slow_module.py").write_text("import os, signal; os.kill(os.getpid(), signal.{name})")
sys.path.insert(0, ".")
signal.signal(signal.SIGINT, signal.default_int_handler)

def command():
    try:
        locate("slow_module.Thing")
    except Exception as error:
        raise {error}("no class of this name") from error

app.app = command
app.main()
"""


@pytest.mark.parametrize("error", ["ValueError", "KeyError"])
@pytest.mark.parametrize("number", STATUS)
def test_a_signal_of_which_code_makes_another_error_is_answered_all_the_same(number, error, tmp_path):
    code = IMPORTING.format(name=number.name, error=error)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert done.returncode == STATUS[number], done.stderr
    assert "Stopping" in done.stderr and "no class" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("number", "processes", "to_group"), [(signal.SIGINT, 1, False), (signal.SIGTERM, 2, True)])
def test_prepare(number, processes, to_group, ct_list, tmp_path):
    words = prepare(list_of(60, ct_list, tmp_path / "long.json"), tmp_path / "store", "--processes", processes)
    status, output, *_ = stopped(words, tmp_path / "store", tmp_path / "log", number, 0.3, to_group)
    assert status == STATUS[number], output
    assert "Stopping" in output and "Traceback" not in output
    assert not temporary_entries(tmp_path / "store")
    again = Forked(words, tmp_path / "again.log", tmp_path)
    assert again.wait() == 0, again.output()
    assert "0 failed" in again.output()


@pytest.mark.slow
@pytest.mark.parametrize("number", STATUS)
def test_a_command_that_only_reads(number, ct_list, tmp_path):
    # As many cases as no machine reads before the signal comes.
    datalist = list_of(20_000, ct_list, tmp_path / "long.json")
    status, output, *_ = stopped(["check", datalist], None, tmp_path / "log", number, 0.5)
    assert status == STATUS[number], output
    assert "Stopping" in output and "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize("number", STATUS)
def test_a_training(number, ct_list, tmp_path):
    words = ["pretrain", "kats", "--datalist", ct_list, "--data", "ct", "--out", tmp_path / "run", *arguments(LONG)]
    status, output, *_ = stopped(words, tmp_path / "run" / "tensorboard", tmp_path / "log", number, 0.5, to_group=True)
    assert status == STATUS[number], output
    assert "Stopping after this step" in output and "continue with --resume" in output
    assert list((tmp_path / "run" / "checkpoints").glob("step=*.pt"))
    assert not temporary_entries(tmp_path / "run")


# A fixed part of ``benchmarks/campaigns/stops.py``; by SIGINT to all processes, then SIGTERM to the command alone.
@pytest.mark.slow
@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("name", ["probe", "protocol", "pack", "segment"])
def test_the_others(name, number, ct_list, pretrained, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(PLAN), encoding="utf-8")
    words = WRITERS[name](Inputs(ct_list, pretrained, plan, tmp_path / "store"), tmp_path / "out")
    done = stopped(words, tmp_path / "out", tmp_path / "log", number, 0.5, to_group=number == signal.SIGINT)
    assert done.status, "it ended before the signal came"
    assert faults(done, number, tmp_path / "out") == [], done.output


@pytest.mark.slow
@pytest.mark.parametrize("number", STATUS)
def test_an_evaluation(number, ct_list, probed, tmp_path):
    run = shutil.copytree(probed, tmp_path / "run")
    # As many cases as no machine predicts before the signal comes.
    datalist = list_of(2000, ct_list, tmp_path / "long.json", section="test")
    words = ["evaluate", run, "--datalist", datalist]
    done = stopped(words, None, tmp_path / "log", number, 0.5, to_group=number == signal.SIGINT)
    assert done.status, "it ended before the signal came"
    assert faults(done, number, run) == [], done.output
    assert not (run / "rows.jsonl").exists()
