import os
import random
import subprocess

import pytest
import torch
from ignite.engine import Events

from medssl.data.sampling import StepSampler
from medssl.runs.checkpoints import (
    SaveCheckpoints,
    checkpoint_path,
    delete_checkpoint,
    is_whole,
    list_checkpoints,
    load_checkpoint,
    newest_whole_checkpoint,
    save_checkpoint,
    set_aside,
    sweep_sha256,
)
from tests.runs.stateful import Counter, engine_over


@pytest.fixture
def folder(tmp_path):
    for step in (9, 10, 11):
        save_checkpoint({"a": torch.arange(100), "step": step}, checkpoint_path(tmp_path, step))
    return tmp_path


def damage(path, kind, rng):
    content = bytearray(path.read_bytes())
    if kind == "cut":
        content = content[: rng.randrange(1, len(content))]
    elif kind == "flipped":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    else:
        content = b""
    path.write_bytes(bytes(content))


def test_a_checkpoint_comes_back(folder):
    state = load_checkpoint(checkpoint_path(folder, 10))
    assert state["a"].tolist() == list(range(100))
    assert state["step"] == 10


def test_the_sums_are_those_of_sha256sum(folder):
    done = subprocess.run(["sha256sum", "-c", *folder.glob("*.sha256")], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK") == 3


def test_the_newest_is_the_highest_step(folder):
    save_checkpoint({}, folder / "other.pt")
    assert newest_whole_checkpoint(folder) == (checkpoint_path(folder, 11), [])


@pytest.mark.parametrize("kind", ["cut", "flipped", "empty"])
@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_checkpoint_is_passed_over(kind, seed, folder):
    damage(checkpoint_path(folder, 11), kind, random.Random(seed))
    assert newest_whole_checkpoint(folder) == (checkpoint_path(folder, 10), [checkpoint_path(folder, 11)])
    with pytest.raises(ValueError, match=r"step=0000011\.pt is damaged"):
        load_checkpoint(checkpoint_path(folder, 11))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe not text"])
def test_a_checkpoint_without_its_sha256_is_not_trusted(content, folder):
    path = folder / "step=0000011.pt.sha256"
    path.unlink() if content is None else path.write_bytes(content)
    assert not is_whole(checkpoint_path(folder, 11))


def test_no_whole_checkpoint_is_an_error_that_names_them(folder):
    for path in list_checkpoints(folder):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"No checkpoint .* is whole \(step=0000009.pt, step=0000010.pt, step=0000011"):
        newest_whole_checkpoint(folder)


def test_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        newest_whole_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*gone\.pt"):
        load_checkpoint(tmp_path / "gone.pt")


def test_what_is_set_aside_counts_no_more(folder):
    set_aside(checkpoint_path(folder, 11))
    assert [path.name for path in list_checkpoints(folder)] == ["step=0000009.pt", "step=0000010.pt"]
    assert (folder / "step=0000011.pt.damaged").is_file()


def test_a_deleted_checkpoint_leaves_nothing(folder):
    for path in list_checkpoints(folder):
        delete_checkpoint(path)
    assert not list(folder.iterdir())


def test_sums_without_a_checkpoint_are_swept(folder):
    checkpoint_path(folder, 9).unlink()
    sweep_sha256(folder)
    assert sorted(path.name for path in folder.glob("*.sha256")) == ["step=0000010.pt.sha256", "step=0000011.pt.sha256"]


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
