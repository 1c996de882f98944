import json
import shutil
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from medssl.data.sampling import StepSampler
from medssl.runs.checkpoints import SaveCheckpoints, save_checkpoint
from medssl.runs.resume import FREE_SETTINGS, Resume, changed_settings
from medssl.workflows.training import pretrain
from tests.runs.stateful import Counter, engine_over
from tests.tiny import PRETRAINING, files_of

SETTINGS = {**PRETRAINING, "max_epochs": 3}


@pytest.fixture(scope="module")
def whole(ct_list, tmp_path_factory):
    """A finished run of six steps with checkpoints after the fourth and the sixth, not to be changed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    pretrain("kats", ct_list, ["ct"], folder, overrides=SETTINGS)
    return folder


@pytest.fixture
def stopped(whole, tmp_path):
    """A copy of it, stopped right after its last checkpoint."""
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    (folder / "backbone.pt").unlink()
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps({**record, "finished": None}))
    return folder


@pytest.fixture
def resume(ct_list, caplog):
    """Give a function that resumes a run with some settings changed, and returns what was logged."""
    caplog.set_level("INFO", "medssl")

    def run(folder, datalist=ct_list, allow_changed=False, **changes):
        settings = {**SETTINGS, **changes}
        pretrain("kats", datalist, ["ct"], folder, overrides=settings, resume=True, allow_changed=allow_changed)
        return caplog.text

    return run


def facts_of(folder):
    return {name: content for name, content in files_of(folder).items() if name != ".lock"}


def require_same_weights(first, second):
    weights = [torch.load(folder / "backbone.pt", weights_only=True) for folder in (first, second)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def resumed_at(folder):
    return [r["step"] for r in json.loads((folder / "run.json").read_text(encoding="utf-8")).get("resumes", [])]


def test_resuming_starts_a_run_where_there_is_none(whole, resume, tmp_path):
    resume(tmp_path / "run")
    require_same_weights(whole, tmp_path / "run")
    assert resumed_at(tmp_path / "run") == []


def test_a_finished_run_says_so_and_stays_as_it_is(whole, resume, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    before = facts_of(folder)
    assert f"{folder} is finished (6 steps): nothing to do." in resume(folder)
    assert facts_of(folder) == before


def test_a_run_stopped_before_its_weights_were_written_writes_them(stopped, whole, resume):
    assert f"{stopped} continues after step 6 of 6." in resume(stopped)
    require_same_weights(whole, stopped)
    assert resumed_at(stopped) == [6]
    assert json.loads((stopped / "run.json").read_text(encoding="utf-8"))["finished"]


def test_a_run_stopped_before_its_first_checkpoint_starts_anew(stopped, whole, resume):
    shutil.rmtree(stopped / "checkpoints")
    (stopped / "model.pt").touch()
    (stopped / ".config.json.a1b2c3d4.json").touch()
    logs = set(stopped.glob("tensorboard/*"))
    assert "stopped before its first checkpoint" in resume(stopped)
    require_same_weights(whole, stopped)
    assert not (stopped / "model.pt").exists() and not (stopped / ".config.json.a1b2c3d4.json").exists()
    assert not logs & set(stopped.glob("tensorboard/*"))


@pytest.mark.parametrize(
    "damage",
    [lambda old: old[:-100], lambda old: b"", lambda old: old[:999] + bytes([old[999] ^ 1]) + old[1000:]],
    ids=["cut", "empty", "flipped"],
)
def test_a_damaged_checkpoint_is_passed_over_and_named(damage, stopped, whole, resume):
    newest = stopped / "checkpoints" / "step=0000006.pt"
    newest.write_bytes(damage(newest.read_bytes()))
    logged = resume(stopped)
    assert "step=0000006.pt is damaged" in logged and "step=0000004.pt is used" in logged
    require_same_weights(whole, stopped)
    assert resumed_at(stopped) == [4]
    assert newest.with_name("step=0000006.pt.damaged").is_file()


def test_no_whole_checkpoint_is_an_error_and_nothing_starts_anew(stopped, resume):
    for path in stopped.glob("checkpoints/*.pt"):
        path.write_bytes(b"")
    before = facts_of(stopped)
    with pytest.raises(ValueError, match=r"No checkpoint in .* is whole \(step=0000004.pt, step=0000006.pt\)"):
        resume(stopped)
    assert facts_of(stopped) == before


def test_other_settings_are_refused_with_their_names_and_values(stopped, resume):
    before = facts_of(stopped)
    changes = {"learning_rate": 0.5, "patch_size": [8, 8, 8], "train::trainer::amp": True}
    with pytest.raises(ValueError) as refused:
        resume(stopped, **changes)
    for line in ("learning_rate: 0.0003 -> 0.5", "patch_size: [16, 16, 8] -> [8, 8, 8]", "amp: (none) -> True"):
        assert f"{line}\n" in str(refused.value)
    assert "--allow-changed" in str(refused.value)
    assert facts_of(stopped) == before


def test_other_settings_can_be_allowed_and_are_noted(stopped, resume):
    resume(stopped, learning_rate=0.5, allow_changed=True)
    (noted,) = json.loads((stopped / "run.json").read_text(encoding="utf-8"))["resumes"]
    assert noted["changes"] == ["learning_rate: 0.0003 -> 0.5"]
    assert json.loads((stopped / "config.json").read_text(encoding="utf-8"))["learning_rate"] == 0.5


def test_another_data_list_is_refused_and_a_moved_one_is_not(stopped, resume, ct_list, tmp_path):
    moved = Path(shutil.copytree(ct_list.parent, tmp_path / "data")) / ct_list.name
    resume(stopped, moved)
    moved.write_text(moved.read_text(encoding="utf-8") + "\n")
    with pytest.raises(ValueError, match=r"data list: SHA-256 .* -> "):
        resume(stopped, moved)


def test_what_cannot_change_the_result_may_change(stopped, whole, resume):
    (stopped / "checkpoints" / "step=0000006.pt").write_bytes(b"")
    resume(stopped, num_workers=2, checkpoint_every=1, panel_every=5, cache_rate=0.0)
    require_same_weights(whole, stopped)
    assert {"num_workers", "checkpoint_every", "panel_every", "cache_rate"} <= FREE_SETTINGS.keys()


def test_a_finished_run_can_be_made_longer(ct_list, whole, resume, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "longer"))
    assert f"{folder} continues after step 6 of 8 (planned before: 6)." in resume(folder, max_epochs=4)
    pretrain("kats", ct_list, ["ct"], tmp_path / "straight", overrides={**SETTINGS, "max_epochs": 4})
    require_same_weights(tmp_path / "straight", folder)
    with pytest.raises(ValueError, match="max_epochs: 4 -> 3"):
        resume(folder)


def test_weights_of_which_nothing_is_known_are_refused(resume, tmp_path):
    (tmp_path / "backbone.pt").touch()
    with pytest.raises(FileExistsError, match="nothing tells what run they are of"):
        resume(tmp_path)


# As version 0.1 named them.
FORMER_NAMES = {
    "medssl.runs.folder.claim_run_folder": "medssl.engines.run_folder.claim_run_folder",
    "medssl.runs.checkpoints.SaveCheckpoints": "medssl.engines.run_folder.SaveCheckpoints",
    "medssl.runs.resume.Resume": "medssl.engines.run_folder.Resume",
    "medssl.runs.stop.StopOnSignal": "medssl.engines.stopping.StopOnSignal",
    "medssl.scans.loading.VerifiedLoadImaged": "medssl.data.loading.VerifiedLoadImaged",
    "medssl.engines.progress.Progress": "medssl.engines.pretrain.Progress",
}


def test_a_run_of_version_0_1_goes_on(stopped, whole, resume):
    config = (stopped / "config.json").read_text(encoding="utf-8")
    for today, former in FORMER_NAMES.items():
        assert f'"{today}"' in config
        config = config.replace(f'"{today}"', f'"{former}"')
    (stopped / "config.json").write_text(config, encoding="utf-8")
    (stopped / "checkpoints" / "step=0000006.pt").unlink()
    assert "continues after step 4 of 6." in resume(stopped)
    require_same_weights(whole, stopped)
    (resumed,) = json.loads((stopped / "run.json").read_text(encoding="utf-8"))["resumes"]
    assert "changes" not in resumed


def test_another_class_is_a_change_by_the_names_of_today():
    records = [{"datalist": {"sha256": "a"}, "backbone_sha256": None}] * 2
    stored = {
        "moved": {"_target_": "medssl.engines.pretrain.ClipGradients"},
        "gone": {"_target_": "medssl.data.nifti.Gone"},
    }
    given = {"moved": {"_target_": "medssl.engines.progress.Progress"}, "gone": {"_target_": "torch.nn.Identity"}}
    assert list(changed_settings(stored, given, *records)) == [
        "moved::_target_: medssl.engines.steps.ClipGradients -> medssl.engines.progress.Progress",
        "gone::_target_: medssl.data.nifti.Gone -> torch.nn.Identity",
    ]


def test_changes_are_found_in_lists_and_nested_settings():
    records = [
        {"datalist": {"sha256": "a"}, "backbone_sha256": None},
        {"datalist": {"sha256": "a"}, "backbone_sha256": "b"},
    ]
    stored = {"a": {"b": [{"c": 1}]}, "gone": 1, "tuple": [1, 2]}
    given = {"a": {"b": [{"c": 2}, {"d": 3}]}, "tuple": (1, 2)}
    changes = list(changed_settings(stored, given, *records))
    assert changes == [
        "a::b::0::c: 1 -> 2",
        "gone: 1 -> (none)",
        "a::b::1::d: (none) -> 3",
        "backbone: SHA-256 None -> b",
    ]


def test_a_resumed_run_does_the_steps_that_are_left(tmp_path):
    sampler, counter, steps = StepSampler(), Counter(), []
    engine = engine_over(sampler, counter, steps)
    save_checkpoint({"counter": {"value": 5}, "step": 6}, tmp_path / "step=0000006.pt")
    Resume(str(tmp_path / "step=0000006.pt"), {"counter": counter}, sampler).attach(engine)
    engine.run(sampler, max_epochs=3, epoch_length=4)
    assert steps == list(range(6, 12))
    assert engine.state.epoch == 3


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
