import json
import shutil

import pytest
import torch

from medssl.packaging.pack import pack
from medssl.workflows.backbones import backbone_settings
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
