import json
import logging
import shutil

import pytest
import torch
from torch import nn

from medssl.networks.fpn import FPN
from medssl.packaging.pack import pack
from medssl.workflows.backbones import backbone_settings, load_backbone, require_fitting_backbone
from medssl.workflows.recipes import find_recipe
from medssl.workflows.training import train_segmentation
from tests.tiny import NETWORK, SEGMENTATION


@pytest.fixture(scope="module")
def bundle(pretrained, tmp_path_factory):
    return pack(pretrained, "toy", tmp_path_factory.mktemp("bundles"), zip_bundle=False)


def test_a_probe_of_a_bundle_is_that_of_its_run(bundle, probed, ct_list, tmp_path):
    path = train_segmentation(
        "linear_probe", ct_list, ["ct"], tmp_path, backbone=bundle, num_labels=1, overrides=SEGMENTATION
    )
    weights = [torch.load(folder / "model.pt", weights_only=True) for folder in (path.parent, probed)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["name"] == "kats"
    assert {key: config[key] for key in NETWORK} == NETWORK


def test_a_bundle_may_be_moved_before_a_run_is_resumed(bundle, pretrained, ct_list, tmp_path):
    options = {"num_labels": 1, "overrides": SEGMENTATION, "resume": True}
    train_segmentation("fine_tune", ct_list, ["ct"], tmp_path / "run", backbone=bundle, **options)
    moved = shutil.move(bundle, tmp_path / "moved")
    train_segmentation("fine_tune", ct_list, ["ct"], tmp_path / "run", backbone=moved, **options)
    shutil.move(moved, bundle)
    with pytest.raises(ValueError, match="backbone: SHA-256"):
        train_segmentation("fine_tune", ct_list, ["ct"], tmp_path / "run", backbone=pretrained, **options)


def test_a_segmentation_bundle_is_refused(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "train.json").write_text("{}")
    (tmp_path / "provenance.json").write_text('{"kind": "segmentation"}')
    with pytest.raises(ValueError, match="is a segmentation bundle"):
        backbone_settings(tmp_path)


def test_a_backbone_of_other_axes_than_the_data_is_refused(pretrained, ct_list, tmp_path):
    with pytest.raises(ValueError, match=r"takes spatial_dims=3.*has spatial_dims=2"):
        train_segmentation("fine_tune", ct_list, ["image_2d"], tmp_path / "run", backbone=pretrained, num_labels=1)
    assert not (tmp_path / "run").exists()


def test_a_network_beside_the_one_of_the_backbone_is_refused(pretrained, ct_list, tmp_path):
    with pytest.raises(ValueError, match="--with resnet18 is a network"):
        train_segmentation("fine_tune", ct_list, ["ct"], tmp_path / "run", backbone=pretrained, layers=["resnet18"])


def run_folder(folder, definition, weights=None):
    """The folder of a finished pretraining, as far as a backbone needs it."""
    folder.mkdir(exist_ok=True)
    config = {"name": "kats", "dims": 2, "backbone_def": definition}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.save(weights or {}, folder / "backbone.pt")
    return folder


def test_the_backbone_of_a_run_and_of_its_bundle_has_the_pretrained_weights(bundle, pretrained):
    expected = torch.load(pretrained / "backbone.pt", weights_only=True)
    for source in (pretrained, str(pretrained), bundle):
        backbone = load_backbone(source)
        assert isinstance(backbone, FPN) and not any(module.training for module in backbone.modules())
        actual = backbone.state_dict()
        assert actual.keys() == expected.keys()
        assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_a_backbone_is_used_in_a_network_of_ones_own(pretrained):
    backbone = load_backbone(pretrained)
    pyramid = backbone(torch.zeros(1, 1, 8, 8, 8))
    head = nn.Conv3d(backbone.level_channels[0], 3, 1)
    assert head(pyramid[0]).shape == (1, 3, 8, 8, 8)


def test_references_of_a_configuration_are_followed(tmp_path):
    definition = {"_target_": "torch.nn.Linear", "in_features": "@dims", "out_features": 3, "bias": False}
    weights = {"weight": torch.arange(6.0).reshape(3, 2)}
    assert torch.equal(load_backbone(run_folder(tmp_path, definition, weights)).weight, weights["weight"])


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"_target_": "os.mkdir", "path": "MADE"}, r"names 'os\.mkdir', which is not a known network"),
        ({"_target_": "torch.nn.Linear", "in_features": "$__import__('os').mkdir('MADE')"}, "is not run; write its"),
        ({"_target_": "torch.nn.Linear", "in_features": "%MADE.yaml"}, "is not run; write its value"),
        ({"_target_": "torch.nn.Nowhere"}, r"names 'torch\.nn\.Nowhere', which is not a known network"),
        ({"_target_": "torch.nn.Linear", "out_features": "@dims"}, r"does not fit torch\.nn\.\S+\.Linear.*in_features"),
        ({"_target_": "torch.nn.Linear", "in_features": "@size"}, r"config\.json refers to 'size'"),
        ({"in_features": 2}, "does not name a class under '_target_'"),
    ],
)
def test_a_definition_that_is_not_a_plain_network_is_refused_and_runs_nothing(
    definition, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_backbone(run_folder(tmp_path / "run", definition))
    assert not (tmp_path / "MADE").exists()


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("backbone.pt", None, FileNotFoundError, r"run holds no backbone\.pt; give the folder of a finished"),
        ("backbone.pt", b"garbage", ValueError, r"backbone\.pt is damaged"),
        ("config.json", None, FileNotFoundError, r"run holds no config\.json; give the folder"),
        ("config.json", b'{"name": ', ValueError, r"config\.json is damaged .*copy the folder again"),
        ("config.json", b"[]", ValueError, r"config\.json is damaged .*copy the folder again"),
        ("config.json", b"{}", ValueError, r"config\.json has no 'backbone_def'"),
    ],
)
def test_a_damaged_run_is_refused_by_the_name_of_the_file(name, content, error, message, tmp_path):
    folder = run_folder(tmp_path / "run", {"_target_": "torch.nn.Identity"})
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(error, match=message):
        load_backbone(folder)


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    definition = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3, "bias": False}
    folder = run_folder(tmp_path, definition, {"weight": torch.zeros(3, 4)})
    with pytest.raises(ValueError, match=r"backbone\.pt is of another network: weight has the shape \(3, 4\)"):
        load_backbone(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; give the folder of a finished pretraining run"):
        load_backbone(tmp_path / "nowhere")


def test_shipped_weights_are_loaded_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backbone = load_backbone("abdomen-ct")
    assert {value.dtype for value in backbone.parameters()} == {torch.float32}
    with torch.no_grad():
        shapes = [tuple(level.shape) for level in backbone(torch.zeros(1, 1, 32, 32, 16))]
    assert shapes == [(1, 16, 32, 32, 16), (1, 32, 16, 16, 8), (1, 64, 8, 8, 4), (1, 128, 4, 4, 2)]


def test_a_probe_starts_from_shipped_weights(ct_list, tmp_path):
    settings = {**SEGMENTATION, "spacing": [6.0, 6.0, 9.0]}
    train_segmentation(
        "linear_probe", ct_list, ["ct"], tmp_path / "run", backbone="abdomen-ct", num_labels=1, overrides=settings
    )
    trained = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    for name, value in load_backbone("abdomen-ct").state_dict().items():
        assert torch.equal(trained[f"backbone.{name}"], value)


def warnings_of(caplog, data, **overrides):
    """The messages that a recipe gives with the shipped weights for CT."""
    with caplog.at_level(logging.WARNING, logger="medssl"):
        recipe = [find_recipe("segmentation/configs", "train"), *(find_recipe("data", name) for name in data)]
        require_fitting_backbone("abdomen-ct", backbone_settings("abdomen-ct"), recipe, overrides)
    return [record.getMessage() for record in caplog.records]


def test_another_modality_or_spacing_than_the_pretraining_is_a_warning_that_names_both(caplog):
    modality, spacing = warnings_of(caplog, ["mr"])
    assert modality.startswith(
        "The backbone of abdomen-ct was pretrained with modality CT, and the data recipe has MR;"
    )
    assert "pretrained with spacing 2.0 x 2.0 x 3.0 mm, and the data recipe has 1" in spacing


def test_the_images_of_the_pretraining_give_no_warning(caplog):
    assert warnings_of(caplog, ["ct", "abdomen_ct"]) == []


def test_slices_are_refused_by_shipped_volumes_weights(caplog):
    with pytest.raises(ValueError, match=r"abdomen-ct takes spatial_dims=3.*has spatial_dims=2"):
        warnings_of(caplog, ["mr_slices"])
