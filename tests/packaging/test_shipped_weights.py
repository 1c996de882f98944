import random
import re

import pytest

from medssl.files import file_sha256
from medssl.packaging.loading import load_bundle
from medssl.packaging.shipped_weights import bundle_folder, shipped_weights

NAMES = [weights.name for weights in shipped_weights()]
ROW = re.compile(r"^\| (\S+) \| (trained on|held out) \| `([0-9a-f]{64})` \|$", re.MULTILINE)


def card(name):
    return (bundle_folder(name) / "docs" / "README.md").read_text(encoding="utf-8")


def scans(name, role):
    """The hash of every scan with a role in the model card, by the name of the scan."""
    return {case: sha256 for case, found, sha256 in ROW.findall(card(name)) if found == role}


@pytest.mark.parametrize(("name", "spacing"), [("abdomen-ct", [2.0, 2.0, 3.0]), ("abdomen-ct-4mm", [4.0, 4.0, 6.0])])
def test_weights_for_ct_of_the_abdomen_are_shipped(name, spacing):
    (weights,) = [weights for weights in shipped_weights() if weights.name == name]
    assert weights[3:] == ("CT", spacing, 16, 4, "CC BY 4.0")


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_are_small_and_float32_once_loaded(name):
    assert sum(path.stat().st_size for path in bundle_folder(name).rglob("*")) < 7e6
    network = load_bundle(name).network
    assert {str(value.dtype) for value in network.parameters()} == {"torch.float32"}


@pytest.mark.parametrize("name", NAMES)
def test_held_out_scans_are_not_among_the_training_scans(name):
    trained, held_out = scans(name, "trained on"), scans(name, "held out")
    assert len(trained) >= 10 and len(held_out) >= 5
    assert trained.keys().isdisjoint(held_out)
    assert set(trained.values()).isdisjoint(held_out.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_test_scans_of_the_ct_benchmark_are_those_held_out(name):
    listed = {**scans(name, "trained on"), **scans(name, "held out")}
    btcv = sorted(case for case in listed if case.startswith("btcv"))
    assert len(btcv) == 20
    assert set(random.Random(0).sample(btcv, 5)) == scans(name, "held out").keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_names_no_folder_of_a_machine_and_its_own_hash(name):
    folder = bundle_folder(name)
    texts = [path.read_text(encoding="utf-8") for ending in ("json", "md") for path in folder.rglob(f"*.{ending}")]
    assert len(texts) >= 5
    assert not [text for text in texts if re.search(r"[\"'`\s](/work|/home|/tmp|/root)/", text)]
    assert re.search(r"\| SHA-256 \| `([0-9a-f]{64})`", card(name))[1] in (folder / "provenance.json").read_text()


def test_a_folder_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "abdomen-ct").mkdir()
    assert bundle_folder("abdomen-ct").absolute() == tmp_path / "abdomen-ct"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(FileNotFoundError, match=r"no folder abdomen-mr; .*come with medssl: abdomen-ct"):
        bundle_folder("abdomen-mr")


@pytest.mark.real_data
@pytest.mark.parametrize("name", NAMES)
def test_the_hashes_of_the_card_are_those_of_the_files(name, shared_data):
    for role in ("trained on", "held out"):
        found = {case: sha256 for case, sha256 in scans(name, role).items() if case.startswith("btcv")}
        assert found
        for case, sha256 in found.items():
            assert file_sha256(shared_data / "btcv-abdomen-ct" / "images" / f"{case}.nii.gz") == sha256
