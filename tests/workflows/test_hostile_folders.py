import json
import shutil
from pathlib import Path

import pytest
import torch

from medssl.packaging.pack import pack
from medssl.workflows.backbones import backbone_settings, load_backbone
from medssl.workflows.labelling import Labelling
from medssl.workflows.segment_backbone import choose_backbone
from medssl.workflows.segment_training import load_run
from medssl.workflows.training import evaluate, train_segmentation
from tests.hostile import MADE, NETWORKS, TRANSFORMS, plant
from tests.tiny import SEGMENTATION


@pytest.fixture
def run(pretrained, tmp_path, monkeypatch):
    """A pretraining run that came from elsewhere."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(pretrained, tmp_path / "run")


@pytest.fixture
def segmentation_run(probed, tmp_path, monkeypatch):
    """A segmentation run that came from elsewhere."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(probed, tmp_path / "probed")


@pytest.mark.parametrize("attack", NETWORKS)
def test_a_backbone_that_is_code_is_refused(run, attack):
    plant(run / "config.json", backbone_def=NETWORKS[attack])
    for opened in (backbone_settings, load_backbone):
        with pytest.raises(ValueError, match=r"config\.json|backbone_def of .*run does not name a class"):
            opened(run)
    assert not Path(MADE).exists()


@pytest.mark.parametrize("key", ["base_channels", "num_levels", "spatial_dims", "in_channels", "name"])
def test_a_setting_of_a_backbone_is_never_an_expression(run, key):
    plant(run / "config.json", **{key: NETWORKS["expression"]})
    with pytest.raises(ValueError, match=rf"{key} = .*which is not run"):
        backbone_settings(run)
    assert not Path(MADE).exists()


def test_a_reference_in_a_circle_is_refused(run):
    plant(run / "config.json", in_channels="@first", first="@second", second="@first")
    with pytest.raises(ValueError, match=r"config\.json refers from .* to itself"):
        backbone_settings(run)


def test_a_bundle_is_no_safer_place_for_code(pretrained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle = pack(pretrained, "toy", tmp_path, zip_bundle=False)
    plant(bundle / "configs" / "train.json", backbone_def=NETWORKS["expression in an argument"])
    with pytest.raises(ValueError, match=r"train\.json defines the backbone by the expression"):
        backbone_settings(bundle)
    plant(bundle / "configs" / "train.json", backbone_def=NETWORKS["function"])
    with pytest.raises(ValueError, match=r"train\.json: backbone_def names 'os\.system', which is not a known network"):
        backbone_settings(bundle)
    assert not Path(MADE).exists()


def test_a_training_does_not_start_from_code(run, ct_list, tmp_path):
    plant(run / "config.json", backbone_def=NETWORKS["function"])
    with pytest.raises(ValueError, match=r"names 'os\.system'"):
        train_segmentation("fine_tune", ct_list, ["ct"], tmp_path / "out", backbone=run, overrides=SEGMENTATION)
    assert not (tmp_path / "out").exists() and not Path(MADE).exists()


@pytest.mark.parametrize("attack", TRANSFORMS)
def test_segmenting_takes_no_transform_that_is_code(run, attack):
    plant(run / "config.json", image_transforms=[TRANSFORMS[attack]])
    with pytest.raises(ValueError, match=r"config\.json: image_transforms::0.*--trust"):
        choose_backbone(str(run), "CT", [], dict)
    assert not Path(MADE).exists()


@pytest.mark.parametrize("key", ["patch_size", "spacing", "modality", "hu_window"])
def test_segmenting_takes_no_setting_that_is_code(run, key):
    plant(run / "config.json", **{key: NETWORKS["expression"]})
    with pytest.raises(ValueError, match=rf"config\.json: {key} is the expression"):
        choose_backbone(str(run), "CT", [], dict)
    assert not Path(MADE).exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("network_def", network) for network in NETWORKS.values()),
        *(("image_transforms", [transform]) for transform in TRANSFORMS.values()),
        ("device", NETWORKS["expression"]),
        ("network", NETWORKS["expression"]),
        ("patch_size", NETWORKS["expression"]),
        ("overlap", NETWORKS["expression"]),
        ("class_names", {"1": NETWORKS["expression"]}),
    ],
)
def test_an_evaluation_runs_no_code_of_its_run(segmentation_run, key, value):
    plant(segmentation_run / "config.json", **{key: value})
    with pytest.raises(
        ValueError, match=r"config\.json: (network_def|planted|nested|image_|device|network |patch|over|cl)"
    ):
        evaluate(segmentation_run)
    if key not in ("class_names", "device", "network"):
        with pytest.raises(ValueError, match=r"config\.json"):
            load_run(segmentation_run).preprocessing()
    assert not Path(MADE).exists() and not (segmentation_run / "evaluate.json").exists()


def test_an_evaluation_leaves_out_what_it_does_not_need(segmentation_run):
    code = [NETWORKS["expression"], NETWORKS["function"]]
    settings = {"imports": [f"$import {MADE}"], "initialize": code, "run": code, "train": {"trainer": code}, "x": code}
    Path(f"{MADE}.py").write_text(f"import os; os.mkdir('{MADE}')", encoding="utf-8")
    plant(segmentation_run / "config.json", **settings)
    evaluate(segmentation_run)
    assert not Path(MADE).exists()
    assert {"imports", "train", "x"}.isdisjoint(json.loads((segmentation_run / "evaluate.json").read_text()))


def test_code_of_a_run_is_run_with_trust(segmentation_run):
    plant(segmentation_run / "config.json", device=f"${NETWORKS['expression'][1:]} or torch.device('cpu')")
    evaluate(segmentation_run, trust=True)
    assert Path(MADE).is_dir()


def test_a_network_of_ones_own_package_is_used_with_trust(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("someones_networks.py").write_text("from torch import nn\nclass Net(nn.Linear): pass\n", encoding="utf-8")
    definition = {"_target_": "someones_networks.Net", "in_features": "$@size // 2", "out_features": 3}
    config = {"name": "x", "size": 4, "backbone_def": definition}
    Path("config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.save(torch.nn.Linear(2, 3).state_dict(), "backbone.pt")
    with pytest.raises(ValueError, match="which is not run"):
        load_backbone(tmp_path)
    assert load_backbone(tmp_path, trust=True).in_features == 2


def test_the_label_app_opens_no_code(segmentation_run, tmp_path):
    bundle = pack(segmentation_run, "toy", tmp_path, zip_bundle=False)
    plant(bundle / "configs" / "inference.json", network_def=NETWORKS["function"])
    with pytest.raises(ValueError, match=r"names 'os\.system'"):
        Labelling(bundle, tmp_path / "studies")
    assert not Path(MADE).exists()
