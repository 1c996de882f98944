import os

import pytest

from medssl.runs.folder import claim_run_folder, discard_start, sweep_run_folder


def test_a_folder_that_holds_a_run_is_refused(tmp_path):
    folder = claim_run_folder(str(tmp_path / "run"))
    folder.mkdir()
    (folder / "backbone.pt").touch()
    with pytest.raises(FileExistsError, match=r"already holds a run.*--resume"):
        claim_run_folder(str(folder))


def test_a_claim_writes_nothing(tmp_path):
    claim_run_folder(str(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        claim_run_folder(str(tmp_path), resume_from=str(tmp_path / "gone.pt"))


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path):
    left = [
        ".config.json.a1b2c3d4.json",
        "checkpoints/.step=0000003.pt.k3v_9x2a.pt",
        "checkpoints/step=0000003.pt.sha256",
        "features/.scan-6ec2c818.features.npy.ddhq7kkk.npy",
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
