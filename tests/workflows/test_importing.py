import json

import pytest
import torch

from medssl.networks.fpn import FPN
from medssl.packaging.weights import load_weights
from medssl.workflows.importing import import_weights, inspect_weights
from tests.packaging.published import published_state


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "authors.pt"
    torch.save({"state_dict": published_state(width=4, num_levels=3)}, path)
    return path


@pytest.fixture(scope="module")
def bundle(checkpoint, tmp_path_factory):
    return import_weights(checkpoint, "kats", ["ct"], "authors", tmp_path_factory.mktemp("bundles"))[0]


def test_the_bundle_holds_the_weights(bundle):
    weights = load_weights(bundle / "models" / "model.pt")
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
    with pytest.raises(ValueError, match="import them as kats or vox2vec"):
        import_weights(checkpoint, "simclr", ["ct"], "authors", tmp_path)


def test_inspection_says_what_a_published_file_is(checkpoint):
    text = "\n".join(inspect_weights(checkpoint))
    assert "3 levels, the finest with 4 channels, images of 1 channel(s)" in text


def test_inspection_says_what_another_file_holds(tmp_path):
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "other.pt")
    text = "\n".join(inspect_weights(tmp_path / "other.pt"))
    assert "no backbone of vox2vec or Kats et al." in text
    assert "conv1.weight (64, 3, 7, 7)" in text
