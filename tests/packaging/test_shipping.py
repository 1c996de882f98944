import json

import pytest
import torch

from medssl.files import file_sha256
from medssl.packaging import shipping
from medssl.packaging.loading import load_bundle
from medssl.packaging.pack import pack
from medssl.packaging.shipping import feature_error, ship

SCANS = {
    "training": [{"case": "a", "sha256_file": "1"}],
    "held_out": [{"case": "b", "sha256_file": "2"}],
}


@pytest.fixture(scope="module")
def bundle(pretrained, tmp_path_factory):
    return pack(pretrained, "toy", tmp_path_factory.mktemp("bundles"), zip_bundle=False)


@pytest.fixture(scope="module")
def shipped(bundle, small_kernels_too, tmp_path_factory):
    return ship(bundle, "toy-ct", SCANS, "CC BY 4.0", tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def small_kernels_too():
    """Even the small kernels of a tiny network are stored in half precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipping, "_LEAST_HALVED", 100)
        yield


def test_large_kernels_are_halved_and_features_stay(bundle, shipped):
    weights = torch.load(shipped / "models" / "model.pt", weights_only=True)
    assert all((value.dtype == torch.float16) == (value.numel() > 100) for value in weights.values())
    assert {torch.float16, torch.float32} <= {value.dtype for value in weights.values()}
    image = torch.rand(1, 1, 32, 32, 16)
    with torch.no_grad():
        expected, actual = (load_bundle(folder).network.backbone(image) for folder in (bundle, shipped))
    for level, other in zip(expected, actual, strict=True):
        torch.testing.assert_close(other, level, rtol=0, atol=1e-3 * level.abs().max().item())


def test_the_copy_has_its_own_name_licence_hash_and_scans(shipped):
    assert shipped.name == "toy_ct" and not (shipped / "models" / "model.ts").exists()
    provenance = json.loads((shipped / "provenance.json").read_text(encoding="utf-8"))
    assert (provenance["name"], provenance["licence"]) == ("toy_ct", "CC BY 4.0")
    assert provenance["sha256"] == {"model.pt": file_sha256(shipped / "models" / "model.pt")}
    assert json.loads((shipped / "docs" / "scans.json").read_text(encoding="utf-8")) == SCANS


@pytest.mark.parametrize("changed", [{"case": "a", "sha256_file": "2"}, {"case": "b", "sha256_file": "1"}])
def test_a_held_out_scan_in_the_training_is_refused(bundle, tmp_path, changed):
    with pytest.raises(ValueError, match="Held-out scans are among the training scans"):
        ship(bundle, "toy", {**SCANS, "held_out": [changed]}, "CC BY 4.0", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_copy_that_is_there_is_kept(bundle, shipped):
    with pytest.raises(FileExistsError, match="toy_ct exists"):
        ship(bundle, "toy-ct", SCANS, "CC BY 4.0", shipped.parent)


def test_the_error_of_other_features_is_seen(bundle):
    other = load_bundle(bundle)
    for value in other.network.parameters():
        value.data.mul_(1.1)
    assert feature_error(load_bundle(bundle), other) > 1e-2
