import json

import pytest
import torch

from medssl.networks.fpn import FPN
from medssl.networks.state_dicts import read_weights
from medssl.packaging.checks.checking import check_packed
from medssl.packaging.checks.preflight import check_bundle
from medssl.workflows.importing import import_weights, inspect_weights
from medssl.workflows.training import train_segmentation
from tests.packaging.published import published_state
from tests.packaging.torchvision_state import torchvision_state
from tests.slices import write_slices
from tests.tiny import SEGMENTATION


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "authors.pt"
    torch.save({"state_dict": published_state(width=4, num_levels=3)}, path)
    return path


@pytest.fixture(scope="module")
def bundle(checkpoint, tmp_path_factory):
    return import_weights(checkpoint, "kats", ["ct"], "authors", tmp_path_factory.mktemp("bundles"))[0]


def test_the_bundle_holds_the_weights(bundle):
    weights = read_weights(bundle / "models" / "model.pt")
    network = FPN(3, base_channels=4, num_levels=3)
    network.load_state_dict({name.removeprefix("backbone."): value for name, value in weights.items()})
    assert bundle.name == "authors_pretrain"


def test_the_model_card_names_file_paper_and_licence(bundle):
    card = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    for fact in ("authors.pt", "Kats et al.", "no licence is stated", "It gives features, not a segmentation"):
        assert fact in card


def test_the_provenance_names_the_source(bundle):
    record = json.loads((bundle / "provenance.json").read_text(encoding="utf-8"))
    assert record["source"]["file"] == "authors.pt"
    assert len(record["source"]["sha256"]) == 64


def test_every_tensor_is_reported(checkpoint, tmp_path):
    _, report = import_weights(checkpoint, "vox2vec", ["ct"], "authors", tmp_path)
    assert len(report) == len(published_state(4, 3))


def test_a_refused_checkpoint_leaves_no_bundle(tmp_path):
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"conv1\.weight \(64, 3, 7, 7\)"):
        import_weights(tmp_path / "other.pt", "kats", ["ct"], "authors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_method_without_published_weights_is_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="import them as one of kats, resnet18, resnet50, vox2vec"):
        import_weights(checkpoint, "simclr", ["ct"], "authors", tmp_path)


def test_inspection_says_what_a_published_file_is(checkpoint):
    text = "\n".join(inspect_weights(checkpoint))
    assert "3 levels, the finest with 4 channels, for images with 1 channel(s)" in text


def test_inspection_says_what_another_file_holds(tmp_path):
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "other.pt")
    text = "\n".join(inspect_weights(tmp_path / "other.pt"))
    assert "neither a residual network of torchvision nor a backbone of vox2vec or Kats et al." in text
    assert "conv1.weight (64, 3, 7, 7)" in text


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    """A narrow residual network in torchvision's format, as a bundle for slices of MR; and the report."""
    folder = tmp_path_factory.mktemp("residual")
    torch.save(torchvision_state(18, width=4), folder / "resnet18.pth")
    return import_weights(folder / "resnet18.pth", "resnet18", ["mr_slices", "phantom_2d"], "resnet18", folder)


def test_a_residual_network_becomes_a_bundle(residual):
    bundle, report = residual
    assert bundle.name == "resnet18_pretrain"
    assert check_bundle(bundle) == []
    assert len(report) == len(torchvision_state(18, width=4)) + 1
    assert "ImageNet's mean" in report[-1]


@pytest.mark.slow
def test_a_residual_network_survives_every_command_of_monai(residual):
    assert check_packed(residual[0]) == []


def test_the_card_of_a_residual_network_claims_nothing_about_its_images(residual):
    bundle, _ = residual
    card = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    for fact in ("resnet18.pth", "He et al.", "The file does not say", "Nothing is known of the images"):
        assert fact in card
    assert "Self-supervised" not in card


@pytest.mark.parametrize(("setting", "layers"), [("linear_probe", []), ("fine_tune", ["paper_fine_tune"])])
def test_a_segmentation_network_starts_from_a_residual_network(setting, layers, residual, tmp_path):
    datalist = write_slices(tmp_path / "data")
    sizes = {**SEGMENTATION, "spacing": [3.0, 3.0], "patch_size": [32, 32]}
    del sizes["shuffle_blocks"]
    sizes |= {"l2": 0.01, "max_voxels": 1000, "max_evaluations": 20} if setting == "linear_probe" else {}
    data = ["mr_slices", "phantom_2d"]
    weights = train_segmentation(
        setting, datalist, data, tmp_path / "run", backbone=residual[0], layers=layers, overrides=sizes
    )
    # The paper's fine-tuning is frozen in its first steps.
    trained = read_weights(weights)
    for name, value in read_weights(residual[0] / "models" / "model.pt").items():
        assert torch.equal(trained[name], value), name


def test_a_residual_network_takes_no_volumes(tmp_path):
    torch.save(torchvision_state(18, width=2), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="resnet18 takes 2D images; give a 2D data recipe"):
        import_weights(tmp_path / "w.pth", "resnet18", ["ct"], "w", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_residual_network_of_another_depth_leaves_no_bundle(tmp_path):
    torch.save(torchvision_state(18, width=2), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"layer1\.0\.conv1\.weight has the shape"):
        import_weights(tmp_path / "w.pth", "resnet50", ["image_2d"], "w", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pictures_in_colours_take_all_three_channels(tmp_path):
    torch.save(torchvision_state(50, width=2), tmp_path / "w.pth")
    bundle, _ = import_weights(tmp_path / "w.pth", "resnet50", ["image_2d", "image_rgb_2d"], "w", tmp_path / "out")
    assert read_weights(bundle / "models" / "model.pt")["backbone.conv1.weight"].shape == (2, 3, 7, 7)


@pytest.mark.parametrize(("depth", "offered"), [(18, True), (34, False), (50, True)])
def test_inspection_recognises_residual_networks(depth, offered, tmp_path):
    torch.save(torchvision_state(depth, width=2, classes=9), tmp_path / "w.pth")
    text = "\n".join(inspect_weights(tmp_path / "w.pth"))
    assert f"a 2D residual network of {depth} layers" in text
    assert "a classifier of 9 classes, which is not imported" in text
    assert (f"--as resnet{depth}" in text) == offered
