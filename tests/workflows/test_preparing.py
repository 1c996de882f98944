import json
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from medssl.data.datalist import load_section
from medssl.data.sampling import StepBatches
from medssl.data.store import StoreDataset, read_manifest
from medssl.files import STAGING
from medssl.scans import memory
from medssl.transforms.patches import RandOverlappingPatchesd
from medssl.workflows.preparing import prepare
from medssl.workflows.preprocessing import preprocessing_transform
from medssl.workflows.recipes import find_recipe, merge
from medssl.workflows.training import pretrain
from tests.scans.files import write_bomb
from tests.tiny import PRETRAINING, SIZES, files_of, start

SPACING = {"spacing": SIZES["spacing"]}
NAMES = ["phantom_ct_000", "phantom_ct_001", "phantom_ct_004"]


def prepared(datalist, folder, overrides=SPACING, **options):
    return prepare(datalist, ["ct"], folder, num_processes=1, overrides=overrides, **options)


@pytest.fixture(scope="module")
def finished(ct_list, tmp_path_factory) -> Path:
    """A store of the training and unlabelled cases, not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "store"
    prepared(ct_list, folder)
    return folder


@pytest.fixture
def store(finished, tmp_path) -> Path:
    """A store that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def own_list(ct_list, tmp_path) -> Path:
    """The data list and its scans, which a test may change; the files of the labels are gone."""
    shutil.copytree(ct_list.parent, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "labels")
    return tmp_path / "data" / ct_list.name


def plain_volumes(datalist):
    """Give the cases preprocessed without a store."""
    config = merge([find_recipe("pretrain/configs", "train"), find_recipe("data", "ct")], {}, SPACING)
    return [preprocessing_transform(config)(case) for case in load_section(datalist, config["sections"])]


def arrays(folder):
    return {name: content for name, content in files_of(folder).items() if name.endswith(".npy")}


def image_of(datalist, case):
    return next(Path(entry["image"]) for entry in load_section(datalist, "training+unlabeled") if entry["case"] == case)


def leftovers(store):
    """Give what is in a store beside whole cases, locks and the manifest."""
    whole = {path.parent for path in store.glob("cases/*/*/case.json")}
    known = {"store.json", "store.lock", "lock"}
    files = [path for path in store.rglob("*") if path.is_file()]
    return [path for path in files if path.name not in known and path.parent not in whole]


def losses(run):
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_a_store_holds_the_preprocessed_cases(finished, ct_list):
    manifest = read_manifest(finished)
    assert list(manifest["cases"]) == NAMES
    assert manifest["recipe"] == ["train.yaml", "ct.yaml"]
    dataset = StoreDataset(finished, load_section(ct_list, "training+unlabeled"), manifest["preprocessing_sha256"])
    for item, plain in zip(dataset, plain_volumes(ct_list), strict=True):
        slope, intercept = item["intensity"]
        difference = item["image"].float() * slope + intercept - plain["image"].as_tensor()
        assert difference.abs().max() <= 8.3e-6
        assert torch.equal(item["foreground"], torch.as_tensor(plain["foreground"]).bool())
        (record,) = finished.glob(f"cases/{item['case']}/*/case.json")
        np.testing.assert_allclose(json.loads(record.read_text(encoding="utf-8"))["affine"], plain["image"].affine)


def test_batches_are_the_same_with_and_without_a_store(finished, ct_list):
    cases = load_section(ct_list, "training+unlabeled")
    stored = StoreDataset(finished, cases, read_manifest(finished)["preprocessing_sha256"])
    cut = RandOverlappingPatchesd((16, 16, 8), num_voxels=50)
    batches = [StepBatches(volumes, cut, seed=1, batch_size=3) for volumes in (stored, plain_volumes(ct_list))]
    for step in range(4):
        ours, plain = (batch[step] for batch in batches)
        assert ours["case"] == plain["case"]
        assert all(torch.equal(ours[key], plain[key]) for key in ("voxels_1", "voxels_2"))
        for key in ("view_1", "view_2", "clean_1", "clean_2"):
            assert ours[key].dtype == torch.float32
            assert (ours[key] - plain[key]).abs().max() <= 8.3e-6


def test_pretraining_gives_the_same_losses_with_and_without_a_store(finished, pretrained, ct_list, tmp_path):
    weights = pretrain("kats", ct_list, ["ct"], tmp_path / "run", overrides=PRETRAINING, store=finished)
    assert weights.is_file()
    ours, plain = losses(tmp_path / "run"), losses(pretrained)
    assert ours.keys() == plain.keys()
    for name in plain:
        assert len(ours[name]) == 2
        np.testing.assert_allclose(ours[name], plain[name], rtol=1e-5, atol=1e-5)


def test_no_label_is_opened(own_list, tmp_path):
    assert prepared(own_list, tmp_path / "store").made == NAMES


def test_what_is_unchanged_is_kept(store, ct_list):
    before = files_of(store / "cases")
    again = prepared(ct_list, store, verify=True)
    assert (again.made, again.kept, again.failed) == ([], NAMES, {})
    assert files_of(store / "cases") == before


def test_a_changed_scan_is_made_again_and_nothing_else(own_list, tmp_path):
    store = tmp_path / "store"
    prepared(own_list, store)
    before = arrays(store)
    shutil.copy(image_of(own_list, NAMES[1]), image_of(own_list, NAMES[0]))
    again = prepared(own_list, store)
    assert (again.made, again.kept) == (NAMES[:1], NAMES[1:])
    after = arrays(store)
    assert len(after) == len(before) == 6
    assert {name for name in before if before[name] == after.get(name)} == {n for n in before if NAMES[0] not in n}


def test_a_scan_of_the_same_content_and_another_time_is_kept_and_usable(store, own_list):
    image_of(own_list, NAMES[0]).touch()
    assert prepared(own_list, store).kept == NAMES
    StoreDataset(store, load_section(own_list, "training+unlabeled"), read_manifest(store)["preprocessing_sha256"])


def test_changed_settings_make_everything_again(store, ct_list, tmp_path):
    wider = {"spacing": [7.0, 7.0, 9.0]}
    again = prepared(ct_list, store, overrides=wider)
    assert (again.made, again.kept) == (NAMES, [])
    assert len(arrays(store)) == 6
    with pytest.raises(ValueError, match=r"other settings.*pixdim \[7.0, 7.0, 9.0\] -> \[6.0, 6.0, 9.0\]"):
        pretrain("kats", ct_list, ["ct"], tmp_path / "run", overrides=PRETRAINING, store=store)
    assert not (tmp_path / "run").exists()


def test_damage_is_mended_where_it_shows_and_by_verify_where_it_does_not(store, ct_list):
    cut, flipped = (next(store.glob(f"cases/{name}/*/image.npy")) for name in NAMES[:2])
    cut.write_bytes(cut.read_bytes()[:-2])
    content = bytearray(flipped.read_bytes())
    content[-1] ^= 1
    flipped.write_bytes(content)
    assert prepared(ct_list, store).made == NAMES[:1]
    assert prepared(ct_list, store, verify=True).made == NAMES[1:2]
    assert prepared(ct_list, store, verify=True).made == []


def test_another_list_adds_to_a_store(store, ct_list):
    prepared(ct_list, store, sections="test")
    assert list(read_manifest(store)["cases"]) == sorted([*NAMES, "phantom_ct_003"])


def test_a_bad_scan_is_named_and_does_not_stop_the_others(own_list, tmp_path):
    bad = image_of(own_list, NAMES[1])
    bad.write_bytes(bad.read_bytes()[:-100])
    result = prepared(own_list, tmp_path / "store")
    assert result.made == [NAMES[0], NAMES[2]]
    assert result.failed.keys() == {NAMES[1]}
    assert str(bad) in result.failed[NAMES[1]]
    assert list(read_manifest(tmp_path / "store")["cases"]) == [NAMES[0], NAMES[2]]
    assert leftovers(tmp_path / "store") == []


def test_a_scan_that_is_not_there_is_named(own_list, tmp_path):
    gone = image_of(own_list, NAMES[2])
    gone.unlink()
    result = prepared(own_list, tmp_path / "store")
    assert str(gone) in result.failed[NAMES[2]]
    assert len(result.made) == 2


def test_a_disk_that_is_too_small_is_refused_before_anything_is_made(ct_list, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"store needs up to \d+\.\d\d GiB.*0\.00 GiB free"):
        prepared(ct_list, tmp_path / "store")
    assert arrays(tmp_path / "store") == {}


def test_the_space_asked_for_covers_what_is_written(finished, ct_list, tmp_path, monkeypatch):
    written = sum(len(content) for _, content in arrays(finished).values()) - 6 * 128
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=written - 1))
    with pytest.raises(OSError, match="needs up to"):
        prepared(ct_list, tmp_path / "store")
    # What is there already asks for none.
    assert prepared(ct_list, Path(shutil.copytree(finished, tmp_path / "copy"))).kept == NAMES


def test_ranks_share_the_cases_and_the_last_one_lists_them_all(ct_list, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    made = []
    for rank in (1, 0):
        monkeypatch.setenv("RANK", str(rank))
        made.append(prepared(ct_list, tmp_path / "store").made)
    assert made == [NAMES[1:2], [NAMES[0], NAMES[2]]]
    assert list(read_manifest(tmp_path / "store")["cases"]) == NAMES


def test_a_store_that_lacks_a_case_of_the_run_is_refused_before_anything_is_written(store, ct_list, tmp_path):
    shutil.rmtree(store / "cases" / NAMES[0])
    prepared(ct_list, store, sections="unlabeled")
    with pytest.raises(ValueError, match=f"lacks 1 of 3 cases, such as {NAMES[0]}"):
        pretrain("kats", ct_list, ["ct"], tmp_path / "run", overrides=PRETRAINING, store=store)
    assert not (tmp_path / "run").exists()


def test_what_a_killed_command_left_is_swept(store, ct_list):
    left = store / "cases" / NAMES[0] / f"{STAGING}k3v_9x2a" / "0123456789abcdef"
    left.mkdir(parents=True)
    (left / "image.npy").write_text("half")
    (store / ".store.json.abcdefgh.json").write_text("half")
    assert prepared(ct_list, store).kept == NAMES
    assert leftovers(store) == []


def command(datalist, folder, *options):
    spacing = f"--spacing={SIZES['spacing']}"
    return ("prepare", datalist, "--data", "ct", "--out", folder, *options, spacing)


def test_two_at_once_make_each_case_once(ct_list, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: prepared(ct_list, tmp_path / "store"), range(2)))
    assert sorted(case for result in results for case in result.made) == NAMES
    assert all(sorted(result.made + result.kept) == NAMES for result in results)
    assert leftovers(tmp_path / "store") == []


@pytest.mark.slow
def test_several_processes_write_the_same_bytes_and_import_torch_once(finished, ct_list, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    process = start(*command(ct_list, tmp_path / "store", "--processes", 3), cwd=tmp_path)
    _, imports = process.communicate(timeout=240)
    assert process.returncode == 0, imports
    made, expected = (files_of(folder) for folder in (tmp_path / "store", finished))
    assert {name: content for name, (_, content) in made.items()} == {
        name: content for name, (_, content) in expected.items()
    }
    # By the command, and by the server that its processes are forked from.
    assert [line.rpartition("|")[2].strip() for line in imports.splitlines()].count("torch") == 2


@pytest.mark.slow
def test_two_commands_at_once_make_each_case_once(ct_list, tmp_path):
    processes = [start(*command(ct_list, tmp_path / "store", "--processes", 1), cwd=tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    counts = [int(out.split("(")[1].split(" made")[0]) for out, _ in outputs]
    assert sum(counts) == len(NAMES)
    assert prepared(ct_list, tmp_path / "store", verify=True).kept == NAMES
    assert leftovers(tmp_path / "store") == []


@pytest.mark.slow
def test_a_killed_command_leaves_nothing_half_and_is_continued(ct_list, tmp_path):
    store = tmp_path / "store"
    for delay in np.linspace(0, 0.6, 8):
        process = start(*command(ct_list, store, "--processes", 1), cwd=tmp_path)
        while process.poll() is None and not any(store.glob("cases/*/lock")):
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for record in store.glob("cases/*/*/case.json"):
            assert {path.name for path in record.parent.iterdir()} == {"case.json", "image.npy", "foreground.npy"}
    result = prepared(ct_list, store, verify=True)
    assert sorted(result.made + result.kept) == NAMES
    assert leftovers(store) == []
    assert not list(store.glob(f"cases/*/{STAGING}*"))


def test_scans_that_are_too_large_or_hold_nan_do_not_stop_the_others(own_list, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 200 << 20)
    first, second, last = (own_list.parent / "images" / f"{name}.nii.gz" for name in NAMES)
    write_bomb(first)
    scan = nib.load(second)
    voxels = scan.get_fdata(dtype=np.float32)
    voxels[3] = np.nan
    nib.save(nib.Nifti1Image(voxels, scan.affine), second)
    found = prepared(own_list, tmp_path / "store")
    assert found.made == NAMES[2:] and list(found.failed) == NAMES[:2] and last.exists()
    assert f"{first} needs 0.27 GiB of memory" in found.failed[NAMES[0]]
    assert f"{second} cannot be used: " in found.failed[NAMES[1]] and "NaN" in found.failed[NAMES[1]]
