import json
import os

import numpy as np
import pytest
import torch

from medssl.data.store import (
    StoreDataset,
    case_key,
    describe_source,
    preprocessing_sha256,
    read_manifest,
    require_stored,
    volume_folder,
    write_manifest,
)
from medssl.data.volumes import write_volume

STEPS = [{"_target_": "Spacingd", "pixdim": [1, 1, 2]}]
WANTED = preprocessing_sha256(STEPS)


def add(store, case, image, preprocessing=WANTED):
    """Store an array as the prepared volume of an image file, and give its folder."""
    source = describe_source(image)
    key = case_key(source["sha256"], preprocessing)
    folder = volume_folder(store, case, key)
    folder.mkdir(parents=True)
    values = torch.rand(1, 6, 5, 4, generator=torch.Generator().manual_seed(len(case)))
    identity = {"case": case, "key": key, "preprocessing": preprocessing, "source": source}
    write_volume(folder, values, values > 0.3, np.eye(4), identity)
    return folder


@pytest.fixture
def cases(tmp_path):
    listed = []
    for case in ("a", "bb"):
        (tmp_path / f"{case}.nii.gz").write_text(f"the scan {case}")
        listed.append({"case": case, "image": str(tmp_path / f"{case}.nii.gz"), "label": "nowhere.nii.gz"})
    return listed


@pytest.fixture
def store(tmp_path, cases):
    for case in cases:
        add(tmp_path / "store", case["case"], tmp_path / f"{case['case']}.nii.gz")
    write_manifest(tmp_path / "store", STEPS, ["train.yaml", "ct.yaml"])
    return tmp_path / "store"


def test_items_are_the_cases_in_the_order_of_the_list(store, cases):
    dataset = StoreDataset(store, cases[::-1], WANTED)
    assert len(dataset) == 2
    assert [item["case"] for item in (dataset[0], dataset[1])] == ["bb", "a"]
    assert set(dataset[0]) == {"case", "image", "foreground", "intensity"}
    assert (dataset[0]["image"].dtype, dataset[0]["image"].shape) == (torch.int16, (1, 6, 5, 4))


def test_the_check_of_a_store_gives_the_records_of_its_cases(store, cases):
    assert [volume.case for volume in require_stored(store, cases[::-1], WANTED)] == ["bb", "a"]
    with pytest.raises(ValueError, match="lacks 1 of 1 cases, such as new"):
        require_stored(store, [{"case": "new", "image": "new.nii.gz"}], WANTED)


def test_the_position_of_a_slice_comes_from_the_list(store, cases):
    dataset = StoreDataset(store, [{**case, "position": "0.25"} for case in cases], WANTED)
    assert dataset[1]["position"] == "0.25"


def test_nothing_of_an_item_is_kept_by_the_dataset(store, cases, monkeypatch):
    maps, load = [], np.load
    dataset = StoreDataset(store, cases, WANTED)
    monkeypatch.setattr(np, "load", lambda *args, **options: maps.append(load(*args, **options)) or maps[-1])
    first, again = dataset[0]["image"], dataset[0]["image"]
    assert len(maps) == 4
    assert not np.shares_memory(first.numpy(), again.numpy())
    assert all(isinstance(array, np.memmap) for array in maps)


def test_the_manifest_says_what_the_store_is_made_of(store):
    manifest = read_manifest(store)
    assert (manifest["recipe"], manifest["preprocessing"]) == (["train.yaml", "ct.yaml"], STEPS)
    assert list(manifest["cases"]) == ["a", "bb"]


def test_the_manifest_lists_only_whole_cases_of_its_preprocessing(store, cases, tmp_path):
    image = tmp_path / "a.nii.gz"
    add(store, "other", image, preprocessing="of another recipe")
    for case, name in (("cut", "image.npy"), ("unfinished", "case.json")):
        path = add(store, case, image) / name
        path.write_bytes(path.read_bytes()[:-1]) if case == "cut" else path.unlink()
    assert write_manifest(store, STEPS, []) == ["a", "bb"]


def test_a_folder_without_a_manifest_is_no_store(tmp_path, cases):
    with pytest.raises(FileNotFoundError, match=r"holds no store\.json.*medssl prepare"):
        StoreDataset(tmp_path, cases, WANTED)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is damaged"), ("[]", "is damaged"), ('{"format": 1}', "is damaged"), ('{"format": 2}', "format 2.*update")],
)
def test_a_manifest_that_cannot_be_read_is_said(content, message, store, cases):
    (store / "store.json").write_text(content)
    with pytest.raises(ValueError, match=rf"store\.json.*{message}"):
        StoreDataset(store, cases, WANTED)


def test_another_preprocessing_is_refused(store, cases):
    with pytest.raises(ValueError, match="prepared with other settings"):
        StoreDataset(store, cases, preprocessing_sha256([]))


def test_cases_that_are_not_in_the_store_are_named(store, cases):
    with pytest.raises(ValueError, match="lacks 1 of 3 cases, such as new"):
        StoreDataset(store, [*cases, {"case": "new", "image": "new.nii.gz"}], WANTED)


@pytest.mark.parametrize("change", ["content", "time", "size"])
def test_a_source_that_was_changed_is_refused(change, store, cases):
    image = cases[0]["image"]
    if change == "time":
        os.utime(image, ns=(0, 0))
    else:
        with open(image, "a" if change == "size" else "r+", encoding="utf-8") as file:
            file.write("x")
    with pytest.raises(ValueError, match=r"a\.nii\.gz.*was changed since.*medssl prepare"):
        StoreDataset(store, cases, WANTED)


def test_a_store_works_where_the_scans_are_not(store, cases):
    for case in cases:
        os.remove(case["image"])
    assert StoreDataset(store, cases, WANTED)[1]["case"] == "bb"


@pytest.mark.parametrize("name", ["image.npy", "foreground.npy", "case.json"])
def test_a_damaged_case_is_named_on_opening(name, store, cases):
    (path,) = store.glob(f"cases/a/*/{name}")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"cases/a/.*medssl prepare"):
        StoreDataset(store, cases, WANTED)


def test_a_key_depends_on_the_content_and_the_preprocessing():
    keys = {case_key(*parts) for parts in (("a", "b"), ("a", "c"), ("d", "b"))}
    assert len(keys) == 3


def test_the_hash_of_a_preprocessing_does_not_depend_on_the_order_of_names():
    assert preprocessing_sha256([{"b": 1, "a": [1]}]) == preprocessing_sha256([{"a": (1,), "b": 1}])
    assert preprocessing_sha256([{"a": [2]}]) != preprocessing_sha256([{"a": [1]}])


def test_the_hash_of_a_scan_is_of_all_its_files(tmp_path):
    series = tmp_path / "series"
    series.mkdir()
    for name in ("1.dcm", "2.dcm"):
        (series / name).write_text(name)
    (tmp_path / "scan.nhdr").write_text("NRRD0004\ndata file: voxels.raw\n")
    (tmp_path / "scan.mhd").write_text("NDims = 3\nElementDataFile = voxels.raw\n")
    (tmp_path / "voxels.raw").write_bytes(b"abc")
    for source, file in (("series", "series/2.dcm"), ("scan.nhdr", "voxels.raw"), ("scan.mhd", "voxels.raw")):
        before = describe_source(tmp_path / source)
        assert describe_source(tmp_path / source) == before
        (tmp_path / file).write_bytes((tmp_path / file).read_bytes() + b"d")
        after = describe_source(tmp_path / source)
        assert after["sha256"] != before["sha256"]
        assert after["bytes"] == before["bytes"] + 1


def test_the_record_of_a_source_names_the_file_and_not_its_folder(tmp_path):
    (tmp_path / "scan.nii").write_text("a")
    assert str(tmp_path) not in json.dumps(describe_source(tmp_path / "scan.nii"))


def test_a_store_that_changes_under_a_run_gives_the_old_voxels_or_names_the_case(store, cases):
    dataset = StoreDataset(store, cases, WANTED)
    (folder,) = store.glob("cases/a/*/")
    opened, before = dataset[0]["image"], dataset[0]["image"].clone()
    # As `prepare` leaves it, once the scan is another one.
    folder.rename(folder.with_name("0123456789abcdef"))
    with pytest.raises(ValueError, match=r"cases/a/.*medssl prepare"):
        dataset[0]
    assert torch.equal(opened, before)


def test_an_array_that_is_cut_under_a_run_is_named(store, cases):
    dataset = StoreDataset(store, cases, WANTED)
    (path,) = store.glob("cases/a/*/image.npy")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"cases/a/.*image\.npy.*medssl prepare"):
        dataset[0]
