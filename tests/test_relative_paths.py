"""What a writer made under a relative path loads from any working folder."""

import json
import zipfile
from pathlib import Path

import nibabel as nib
import pytest
import torch

from medssl.data.datalist import Datalist, load_section, read_datalist, write_datalist
from medssl.data.folders import build_datalist
from medssl.data.slices import cut_slices
from medssl.data.store import StoreDataset, read_manifest
from medssl.evaluation.metrics import read_rows
from medssl.packaging.loading import load_bundle
from medssl.packaging.pack import pack
from medssl.phantom.dataset import write_phantom
from medssl.workflows.importing import import_weights
from medssl.workflows.preparing import prepare
from medssl.workflows.training import evaluate, train_segmentation
from tests.packaging.published import published_state
from tests.packaging.toy_run import segmentation_run
from tests.tiny import NETWORK, SEGMENTATION, SIZES


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The working folder of the writer."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def go_elsewhere(work, monkeypatch):
    """Give a function that changes to another working folder and checks that the writer left its own tidy."""

    def go(*made):
        assert sorted(path.name for path in work.iterdir()) == sorted(made)
        assert not list(work.rglob(".*"))
        elsewhere = work.with_name("elsewhere")
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        return work

    return go


def require_readable(path):
    cases = [case for section in read_datalist(path).sections.values() for case in section]
    assert cases
    for case in cases:
        for key in {"image", "label"} & case.keys():
            assert nib.load(case[key]).get_fdata().any(), case[key]


def test_slices(ct_list, go_elsewhere):
    cut_slices(read_datalist(ct_list), "slices")
    work = go_elsewhere("slices")
    require_readable(work / "slices" / "datalist.json")
    listed = json.loads((work / "slices" / "datalist.json").read_text(encoding="utf-8"))
    assert listed["test"][0]["image"].startswith("images/phantom_ct_")


def test_phantoms(go_elsewhere):
    sizes = {"shape": (32, 24, 16), "num_labelled": 1, "num_validation": 0, "num_test": 0}
    write_phantom("data", 2, **sizes)
    require_readable(go_elsewhere("data") / "data" / "datalist.json")


def test_a_list_of_folders(go_elsewhere):
    sizes = {"shape": (32, 24, 16), "num_labelled": 1, "num_validation": 0, "num_test": 0}
    write_phantom("data", 2, **sizes)
    made = build_datalist(Path("data/images"), Path("data/labels"), "toy", "CT", None, 0, 0, 0, None, None)
    write_datalist(made, "lists/list.json")
    require_readable(go_elsewhere("data", "lists") / "lists" / "list.json")


def test_a_list_of_relative_paths(work, go_elsewhere):
    cases = tuple({"case": name, "image": image} for name, image in (("a", "lists/a.nii"), ("b", "b.nii")))
    write_datalist(Datalist("toy", "CT", {0: "background"}, {"unlabeled": cases}), "lists/list.json")
    path = go_elsewhere("lists") / "lists" / "list.json"
    assert [case["image"] for case in load_section(path, "unlabeled")] == [
        str(work / "lists" / "a.nii"),
        str(work / "b.nii"),
    ]
    assert json.loads(path.read_text(encoding="utf-8"))["unlabeled"][0]["image"] == "a.nii"


def test_a_store(ct_list, work, monkeypatch):
    prepare(ct_list, ["ct"], Path("store"), num_processes=1, overrides={"spacing": SIZES["spacing"]})
    monkeypatch.chdir(work.parent)
    cases = load_section(ct_list, "training+unlabeled")
    stored = StoreDataset(work / "store", cases, read_manifest(work / "store")["preprocessing_sha256"])
    assert [case["image"].shape[0] for case in stored] == [1] * len(cases)


def test_a_bundle(work, go_elsewhere):
    segmentation_run(work / "run")
    assert str(pack("run", "toy", "bundles")) == "bundles/toy_linear_probe_segmentation"
    bundle = go_elsewhere("run", "bundles") / "bundles" / "toy_linear_probe_segmentation"
    with zipfile.ZipFile(bundle.with_name(f"{bundle.name}.zip")) as archive:
        archive.extractall("copy")
    packed, unzipped = (load_bundle(path).network.state_dict() for path in (bundle, Path("copy") / bundle.name))
    assert all(torch.equal(value, unzipped[name]) for name, value in packed.items())


def test_imported_weights(go_elsewhere):
    torch.save({"state_dict": published_state(width=4, num_levels=3)}, "authors.pt")
    bundle, _ = import_weights(Path("authors.pt"), "kats", ["ct"], "authors", Path("bundles"))
    assert str(bundle) == "bundles/authors_pretrain"
    assert load_bundle(go_elsewhere("authors.pt", "bundles") / bundle).network is not None


def test_a_run(ct_list, work, monkeypatch, tmp_path):
    write_datalist(read_datalist(ct_list), "list.json")
    train_segmentation("linear_probe", Path("list.json"), ["ct"], Path("run"), overrides={**SEGMENTATION, **NETWORK})
    monkeypatch.chdir(tmp_path)
    assert read_rows(evaluate(work / "run"))
