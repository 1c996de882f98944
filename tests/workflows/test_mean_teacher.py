"""Mean Teacher as a layer over fine-tuning and training from scratch."""

import json

import pytest
import torch

from medssl.engines.mean_teacher import GuideTeacher
from medssl.runs.checkpoints import load_checkpoint
from medssl.workflows.training import train_segmentation
from tests.killing import differences
from tests.tiny import NETWORK, SEGMENTATION
from tests.workflows.test_training import with_sections

LAYERS = ["mean_teacher"]
TINY = {**SEGMENTATION, "learning_rate": 0.01}


def last_state(folder):
    return load_checkpoint(sorted((folder / "checkpoints").glob("*.pt"))[-1])


def backbone_of(setting, pretrained):
    return (None, NETWORK) if setting == "from_scratch" else (pretrained, {})


def require_teacher_kept(folder):
    """Check that model.pt has the weights of the teacher in the last checkpoint, which differ from the student's."""
    weights, state = torch.load(folder / "model.pt", weights_only=True), last_state(folder)["network"]
    assert all(torch.equal(value, state[f"teacher.network.{name}"]) for name, value in weights.items())
    assert any(not torch.equal(value, state[f"student.{name}"]) for name, value in weights.items())


@pytest.mark.parametrize("setting", ["fine_tune", "from_scratch"])
def test_a_run_validates_and_keeps_the_teacher(setting, ct_list, pretrained, tmp_path):
    backbone, more = backbone_of(setting, pretrained)
    overrides = {**TINY, **more}
    train_segmentation(
        setting, ct_list, ["ct"], tmp_path / "run", backbone=backbone, num_labels=1, layers=LAYERS, overrides=overrides
    )
    require_teacher_kept(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["setting"] == "mean_teacher"


@pytest.mark.parametrize("layers", [["unet", "unetplusplus"], ["resnet18", "deeplabv3"]], ids="-".join)
def test_it_stands_over_any_backbone_and_decoder_in_2d(layers, slice_list, tmp_path):
    sizes = {"spacing": [6.0, 6.0], "patch_size": [32, 32], "base_channels": 4, "unlabeled_per_batch": 3}
    sizes |= {"aspp_channels": 4} if "deeplabv3" in layers else {"num_levels": 3}
    overrides = {key: value for key, value in TINY.items() if key != "shuffle_blocks"} | sizes
    data, folder = ["mr_slices", "phantom_2d"], tmp_path / "run"
    train_segmentation(
        "from_scratch", slice_list, data, folder, num_labels=2, layers=layers + LAYERS, overrides=overrides
    )
    require_teacher_kept(folder)


def test_without_validation_the_last_teacher_is_kept(ct_list, tmp_path):
    listed = with_sections(ct_list, tmp_path, validation=[])
    folder = tmp_path / "run"
    train_segmentation(
        "from_scratch", listed, ["ct"], folder, num_labels=1, layers=LAYERS, overrides={**TINY, **NETWORK}
    )
    require_teacher_kept(folder)


def test_a_killed_run_ends_as_one_that_was_not(ct_list, pretrained, tmp_path, monkeypatch):
    overrides = {**TINY, "max_epochs": 2, "checkpoint_every": 1}
    options = {"layers": LAYERS, "overrides": overrides}
    train_segmentation("fine_tune", ct_list, ["ct"], tmp_path / "whole", backbone=pretrained, num_labels=1, **options)
    with monkeypatch.context() as patch:
        patch.setattr(GuideTeacher, "_weigh", die_in_step(4, GuideTeacher._weigh))
        with pytest.raises(KeyboardInterrupt):
            train_segmentation(
                "fine_tune", ct_list, ["ct"], tmp_path / "broken", backbone=pretrained, num_labels=1, **options
            )
    assert last_state(tmp_path / "broken")["step"] == 3
    train_segmentation(
        "fine_tune", ct_list, ["ct"], tmp_path / "broken", backbone=pretrained, num_labels=1, resume=True, **options
    )
    for name in ("model.pt", "checkpoints/step=0000004.pt"):
        assert not differences(tmp_path / "whole" / name, tmp_path / "broken" / name)


def die_in_step(step, call):
    def wrapped(self, engine):
        if engine.state.iteration == step:
            raise KeyboardInterrupt
        call(self, engine)

    return wrapped


def test_without_unlabelled_cases_it_is_refused_and_nothing_is_left(ct_list, tmp_path):
    listed = with_sections(ct_list, tmp_path, unlabeled=[])
    options = {"layers": LAYERS, "overrides": {**TINY, **NETWORK}}
    with pytest.raises(ValueError, match="--unlabeled_training"):
        train_segmentation("from_scratch", listed, ["ct"], tmp_path / "run", num_labels=1, **options)
    assert not list((tmp_path / "run").glob("*.json"))


def test_on_demand_the_training_cases_beyond_the_labelled_ones_are_seen(ct_list, tmp_path):
    listed = with_sections(ct_list, tmp_path, unlabeled=[])
    overrides = {**TINY, **NETWORK, "unlabeled_training": True}
    train_segmentation(
        "from_scratch", listed, ["ct"], tmp_path / "run", num_labels=1, layers=LAYERS, overrides=overrides
    )
    require_teacher_kept(tmp_path / "run")
