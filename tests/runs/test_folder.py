import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from ignite.engine import Engine, Events

from medssl.data.sampling import StepSampler
from medssl.runs.checkpoints import SaveCheckpoints, list_checkpoints, save_checkpoint
from medssl.runs.folder import claim_run_folder, discard_start, save_atomically, sweep_run_folder
from medssl.runs.resume import Resume


def test_a_folder_that_holds_a_run_is_refused(tmp_path):
    folder = claim_run_folder(str(tmp_path / "run"))
    save_atomically({"a": torch.zeros(1)}, folder / "backbone.pt")
    with pytest.raises(FileExistsError, match=r"already holds a run.*--resume"):
        claim_run_folder(str(folder))


def test_a_claim_writes_nothing(tmp_path):
    claim_run_folder(str(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        claim_run_folder(str(tmp_path), resume_from=str(tmp_path / "gone.pt"))


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "model.pt"
    save_atomically({"a": torch.ones(2)}, path)
    with pytest.raises(Exception, match="pickle"):
        save_atomically({"a": lambda: None}, path)
    assert torch.load(path, weights_only=True)["a"].tolist() == [1, 1]
    assert os.listdir(tmp_path) == ["model.pt"]


def test_equal_tensors_give_equal_bytes(tmp_path):
    for name in ("model.pt", "other.pt"):
        save_atomically({"a": torch.ones(2), "b": torch.zeros(3)}, tmp_path / name)
    assert (tmp_path / "model.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()


def test_killed_while_saving_leaves_a_whole_file(tmp_path):
    path = tmp_path / "model.pt"
    code = (
        "import torch\nfrom pathlib import Path\nfrom medssl.runs.folder import save_atomically\n"
        f"while True:\n    save_atomically({{'a': torch.ones(300_000)}}, Path({str(path)!r}))\n    print(flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert torch.load(path, weights_only=True)["a"].sum() == 300_000


class Counter:
    """Something with a state: the number of the last step."""

    def __init__(self):
        self.value = 0

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


def engine_over(sampler, counter, steps):
    def step(engine, number):
        counter.value = number
        steps.append(number)

    engine = Engine(step)
    engine.state.max_epochs, engine.state.epoch_length = 3, 4
    return engine


def test_a_resumed_run_does_the_steps_that_are_left(tmp_path):
    sampler, counter, steps = StepSampler(), Counter(), []
    engine = engine_over(sampler, counter, steps)
    save_checkpoint({"counter": {"value": 5}, "step": 6}, tmp_path / "step=0000006.pt")
    Resume(str(tmp_path / "step=0000006.pt"), {"counter": counter}, sampler).attach(engine)
    engine.run(sampler, max_epochs=3, epoch_length=4)
    assert steps == list(range(6, 12))
    assert engine.state.epoch == 3


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    sampler = StepSampler()
    engine = engine_over(sampler, Counter(), [])
    SaveCheckpoints(str(tmp_path), {"counter": Counter()}, interval=3, num_kept=2).attach(engine)
    engine.run(sampler, max_epochs=3, epoch_length=4)
    kept = ["step=0000009.pt", "step=0000009.pt.sha256", "step=0000012.pt", "step=0000012.pt.sha256"]
    assert sorted(os.listdir(tmp_path)) == kept


def test_the_checkpoint_of_an_epochs_end_holds_what_its_validation_did(tmp_path):
    validated = Counter()
    engine = engine_over(StepSampler(), Counter(), [])

    @engine.on(Events.EPOCH_COMPLETED)
    def validate(engine):
        validated.value = engine.state.epoch

    SaveCheckpoints(str(tmp_path), {"best": validated}, interval=2, num_kept=9).attach(engine)
    engine.run(StepSampler(), max_epochs=2, epoch_length=4)
    paths = list_checkpoints(tmp_path)
    assert [int(path.stem.removeprefix("step=")) for path in paths] == [2, 4, 6, 8]
    assert [torch.load(path, weights_only=True)["best"]["value"] for path in paths] == [0, 1, 1, 2]


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    path = tmp_path / "step=0000001.pt"
    save_checkpoint({"network": {}, "step": 1}, path)
    handler = Resume(str(path), {"method": Counter()}, StepSampler())
    with pytest.raises(ValueError, match="another recipe"):
        handler(Engine(lambda e, b: None))


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "step=0000001.pt"
    save_checkpoint({"method": {"value": 1}, "step": 1}, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"step=0000001\.pt is damaged"):
        Resume(str(path), {"method": Counter()}, StepSampler())(Engine(lambda e, b: None))


def test_the_gradient_scaler_of_the_trainer_is_in_the_checkpoint(tmp_path):
    saved, resumed = (Engine(lambda e, b: None) for _ in range(2))
    saved.scaler, resumed.scaler = Counter(), Counter()
    saved.scaler.value = 1024
    saved.state.iteration, resumed.state.epoch_length = 3, 4
    SaveCheckpoints(str(tmp_path), {"method": Counter()}, interval=1)(saved)
    Resume(str(tmp_path / "step=0000003.pt"), {"method": Counter()}, StepSampler())(resumed)
    assert resumed.scaler.value == 1024


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path):
    left = [
        ".config.json.a1b2c3d4.json",
        "checkpoints/.step=0000003.pt.k3v_9x2a.pt",
        "checkpoints/step=0000003.pt.sha256",
    ]
    kept = [".lock", "config.json", "notes.txt", "checkpoints/mine.pt", "bundle/.model.pt.a1b2c3d4.pt"]
    for name in left + kept:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    sweep_run_folder(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(kept)


def test_a_discarded_start_leaves_what_is_not_its_own(tmp_path):
    folder = claim_run_folder(str(tmp_path))
    for name in ("tensorboard", "checkpoints"):
        (folder / name).mkdir()
    for name in ("config.json", "run.json", "model.pt", "tensorboard/events.out.tfevents.1.host", "notes.txt"):
        (folder / name).touch()
    discard_start(folder)
    assert os.listdir(folder) == ["notes.txt"]
