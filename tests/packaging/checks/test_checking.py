import zipfile

import pytest

from medssl.packaging.checks import checking
from medssl.packaging.checks.checking import check_packed
from medssl.packaging.pack import pack
from tests.packaging.toy_run import segmentation_run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checking")
    return pack(segmentation_run(folder / "run"), "toy", folder)


def test_a_folder_and_its_zip_are_the_same(bundle):
    assert check_packed(bundle, quick=True) == []
    assert check_packed(bundle.with_name(f"{bundle.name}.zip"), quick=True) == []


def test_a_relative_folder_has_the_name_of_the_bundle(bundle, monkeypatch):
    monkeypatch.chdir(bundle)
    assert check_packed(bundle.relative_to(bundle), quick=True) == []


def test_only_a_bundle_without_faults_is_rehearsed(bundle, monkeypatch, tmp_path):
    monkeypatch.setattr(checking, "rehearse", lambda path: ["MONAI minds."])
    assert check_packed(bundle, trust=True) == ["MONAI minds."]
    assert "The bundle lacks LICENSE." in check_packed(tmp_path, trust=True)


def test_only_a_trusted_bundle_is_rehearsed(bundle, monkeypatch):
    monkeypatch.setattr(checking, "rehearse", lambda path: ["MONAI minds."])
    assert check_packed(bundle) == []


def test_a_fault_in_a_zip_is_found(bundle, tmp_path):
    path = bundle.with_name(f"{bundle.name}.zip")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "b.zip", "w") as less:
        for name in archive.namelist():
            if not name.endswith("LICENSE"):
                less.writestr(name, archive.read(name))
    assert check_packed(tmp_path / "b.zip") == ["The bundle lacks LICENSE."]


def test_a_missing_bundle_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no bundle .*nowhere"):
        check_packed(tmp_path / "nowhere")
