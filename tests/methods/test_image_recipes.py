"""The recipes of image-level methods train two steps in 2D and in 3D, and have the numbers of their papers."""

import json
from functools import partial

import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from medssl.engines.losses import StopOnBadLoss
from medssl.packaging.sources import source_bundles
from medssl.workflows.recipes import find_recipe, merge
from medssl.workflows.training import pretrain
from tests.recipes import DATA, STEPS, run_method
from tests.slices import write_slices

SMALL = {"base_channels": 4, "pairs_per_batch": 4}
METHODS = {
    "simclr": {**SMALL, "hidden_channels": 16},
    "byol": {**SMALL, "hidden_channels": 16},
    "vicreg": {**SMALL, "expander_channels": 16},
    "moco": {**SMALL, "queue_size": 8},
    "matssl": {**SMALL, "hidden_channels": 16},
}


def run_settings(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", METHODS)
def test_recipe_trains(name, spatial_dims, tmp_path):
    folder = run_method(name, spatial_dims, tmp_path, **METHODS[name])
    weights = torch.load(folder / "backbone.pt", weights_only=True)
    assert weights["conv1.weight"].dim() == 2 + spatial_dims
    assert all(torch.isfinite(value.float()).all() for value in weights.values())


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_views_can_be_turned_and_scaled(spatial_dims, tmp_path):
    folder = run_method("simclr", spatial_dims, tmp_path, ["affine"], **METHODS["simclr"])
    assert "RandAffine" in json.dumps(run_settings(folder)["augmentation"])


@pytest.mark.parametrize(
    ("name", "settings"),
    [("vicregl", {"expander_channels": 16}), ("densecl", {"queue_size": 16, "matching": "location"})],
)
def test_a_method_that_matches_places_refuses_views_that_were_turned(name, settings, tmp_path):
    settings = {**SMALL, **settings, "backbone_def::depth": 10, "patch_size": [64, 32]}
    with pytest.raises(ValueError, match=r"no 'affine_\d'.* omit .*--with affine"):
        run_method(name, 2, tmp_path, ["affine"], **settings)


@pytest.mark.parametrize("name", ["byol", "moco"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(name, tmp_path, monkeypatch):
    data, sizes = DATA[2]
    settings = {**STEPS, **sizes, **METHODS[name], "steps_per_epoch": 4}
    run = partial(pretrain, name, write_slices(tmp_path / "data"), data, overrides=settings)
    check = StopOnBadLoss.__call__
    run(output_dir=tmp_path / "whole")

    def stop_at_step_4(handler, engine):
        check(handler, engine)
        if engine.state.iteration == 4:
            raise FloatingPointError

    with monkeypatch.context() as patch, pytest.raises(FloatingPointError):
        patch.setattr(StopOnBadLoss, "__call__", stop_at_step_4)
        run(output_dir=tmp_path / "stopped")
    run(output_dir=tmp_path / "stopped", resume=True)
    whole, resumed = (
        torch.load(tmp_path / folder / "checkpoints/step=0000004.pt", weights_only=True)["method"]
        for folder in ("whole", "stopped")
    )
    assert json.loads((tmp_path / "stopped/run.json").read_text(encoding="utf-8"))["resumes"][0]["step"] == 2
    assert all(torch.equal(resumed[key], value) for key, value in whole.items())


def test_turned_views_have_no_places_in_common():
    folder = source_bundles() / "pretrain/configs"
    names = ("train.yaml", "image_level.yaml", "methods/simclr.yaml", "affine.yaml")
    paths = [str(folder / name) for name in names]
    parser = ConfigParser(ConfigParser.load_config_files(paths))
    turn = Compose(parser.get_parsed_content("augmentation")[-2:])
    places = {"affine_1": torch.eye(2, 3), "voxels_2": torch.zeros(1, 2), "regions_1": torch.zeros(8, 8)}
    view = torch.rand(1, 8, 8)
    assert set(turn({"view_1": view, "view_2": view, "case": "a", **places})) == {"view_1", "view_2", "case"}


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("simclr", ["image_level"]),
        ("byol", ["image_level"]),
        ("vicreg", ["image_level"]),
        ("vicregl", ["image_level"]),
        ("moco", ["image_level", "sgd"]),
        ("densecl", ["image_level", "sgd"]),
        ("matssl", ["image_level", "sgd"]),
        ("supercl", ["aligned_patches", "sgd"]),
        ("pcl", ["aligned_patches", "sgd"]),
        ("wcl", ["aligned_patches", "sgd"]),
    ],
)
def test_monai_alone_merges_the_same_where_the_bases_are_listed(name, bases):
    folder = source_bundles() / "pretrain/configs"
    files = ["train.yaml", *(f"{base}.yaml" for base in bases), f"methods/{name}.yaml", "affine.yaml"]
    by_monai = ConfigParser.load_config_files([str(folder / file) for file in files])
    named = by_monai.pop("extends")
    assert ([named] if isinstance(named, str) else named) == bases
    assert by_monai == merge([folder / "train.yaml", folder / f"methods/{name}.yaml", folder / "affine.yaml"], {})


def test_the_reference_of_matssl_trains(tmp_path):
    folder = run_method("matssl", 2, tmp_path, ["matssl_reference"], **METHODS["matssl"])
    assert run_settings(folder)["reference"] is True


def test_matssl_starts_from_imagenet_weights(tmp_path):
    start = run_method("matssl", 2, tmp_path / "start", **METHODS["matssl"]) / "backbone.pt"
    settings = {**METHODS["matssl"], "imagenet_weights": str(start), "learning_rate": 0.0, "end_learning_rate": 0.0}
    weights = torch.load(run_method("matssl", 2, tmp_path / "next", **settings) / "backbone.pt", weights_only=True)
    assert torch.equal(weights["conv1.weight"], torch.load(start, weights_only=True)["conv1.weight"])


def test_a_queue_smaller_than_the_batch_names_its_setting(tmp_path):
    with pytest.raises(ValueError, match="queue_size"):
        run_method("moco", 2, tmp_path, **{**METHODS["moco"], "queue_size": 3})


def test_a_batch_of_one_names_its_setting(tmp_path):
    with pytest.raises(ValueError, match="pairs_per_batch"):
        run_method("simclr", 2, tmp_path, **{**METHODS["simclr"], "pairs_per_batch": 1, "patch_size": [64, 64]})


@pytest.mark.parametrize(
    ("name", "depth", "settings"),
    [
        ("simclr", 18, {"pairs_per_batch": 128, "max_epochs": 100, "learning_rate": 0.15}),
        ("byol", 18, {"pairs_per_batch": 128, "max_epochs": 100, "momentum": 0.996}),
        ("vicreg", 18, {"pairs_per_batch": 128, "max_epochs": 100, "expander_channels": 8192}),
        ("moco", 50, {"pairs_per_batch": 256, "queue_size": 65536, "temperature": 0.2, "learning_rate": 0.03}),
        ("matssl", 50, {"pairs_per_batch": 128, "temperature": 0.07, "learning_rate": 0.1, "end_learning_rate": 1e-4}),
    ],
)
def test_numbers_are_those_of_the_paper(name, depth, settings):
    recipe = [find_recipe("pretrain/configs", "train"), find_recipe("pretrain/configs/methods", name)]
    config = ConfigParser(merge(recipe, {}))
    assert {key: config[key] for key in settings} == settings
    assert config["backbone_def::depth"] == depth
