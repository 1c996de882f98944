"""MONAI's own commands find faults, and the rehearsal states each in one sentence."""

import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from medssl.packaging import pack as packing
from medssl.packaging.checks import rehearsal
from medssl.packaging.checks.rehearsal import _fresh_python, rehearse
from medssl.packaging.pack import pack
from tests.packaging.checks.test_preflight import change
from tests.packaging.toy_run import pretraining_run, segmentation_run


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return pack(segmentation_run(tmp_path_factory.mktemp("run")), "toy", zip_bundle=False)


@pytest.fixture
def bundle(good, tmp_path):
    return shutil.copytree(good, tmp_path / good.name)


def faults_of(step, bundle, tmp_path):
    """The faults that one step of the rehearsal finds."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    rehearsal._write_scan(folder, rehearsal._input_shape(bundle))
    return list(getattr(rehearsal, step)(bundle, folder))


@pytest.mark.slow
@pytest.mark.parametrize("make", [segmentation_run, pretraining_run])
def test_a_good_bundle_passes_from_any_folder(make, tmp_path, monkeypatch):
    packed = pack(make(tmp_path / "run"), "toy", tmp_path / "bundles", zip_bundle=False)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert rehearse(packed.relative_to(tmp_path)) == []
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_metadata_against_the_schema_are_found_without_a_network(bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "https_proxy", "http://127.0.0.1:9")
    change(bundle, "configs/metadata.json", "network_data_format", "inputs", "image", "num_channels", value="one")
    (fault,) = faults_of("_metadata", bundle, tmp_path)
    assert fault.startswith("monai.bundle verify_metadata fails: ") and "meta_schema_20240725" in fault


@pytest.mark.slow
def test_a_wrong_number_of_channels_is_found(bundle, tmp_path):
    change(bundle, "configs/metadata.json", "network_data_format", "outputs", "pred", "num_channels", value=5)
    (fault,) = faults_of("_network", bundle, tmp_path)
    assert fault.startswith("monai.bundle verify_net_in_out fails: ") and "5" in fault


@pytest.mark.slow
def test_weights_of_another_shape_are_found(bundle, tmp_path):
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    weights["head.convs.1.bias"] = torch.zeros(7)
    torch.save(weights, bundle / "models" / "model.pt")
    (fault,) = faults_of("_export", bundle, tmp_path)
    assert fault.startswith("monai.bundle ckpt_export fails: ")


@pytest.mark.slow
def test_an_inference_that_fails_is_found(bundle, tmp_path):
    config = json.loads((bundle / "configs" / "inference.json").read_text(encoding="utf-8"))
    # Above the range of every preprocessed scan.
    crop = {"_target_": "medssl.transforms.foreground.CropBodyd", "keys": "image", "source_key": "image"}
    config["image_transforms"].append({**crop, "threshold": 9.0})
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    (fault,) = faults_of("_inference", bundle, tmp_path)
    assert fault.startswith("monai.bundle run fails: ")


@pytest.mark.slow
def test_an_inference_without_a_scan_fails(bundle, tmp_path):
    change(bundle, "configs/inference.json", "datalist", value=[])
    (fault,) = faults_of("_inference", bundle, tmp_path)
    assert "writes no" in fault


@pytest.mark.slow
def test_a_bundle_that_cannot_be_used_from_python_is_found(bundle, tmp_path):
    config = json.loads((bundle / "configs" / "inference.json").read_text(encoding="utf-8"))
    config["initialize"] = ["$@handlers[0].load_path and torch.load('models/model.pt')"]
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    rehearsal._write_scan(folder, rehearsal._input_shape(bundle))
    torch.jit.load(bundle / "models" / "model.ts").save(str(folder / "exported.ts"))
    (fault,) = rehearsal._python_checks(bundle, folder)
    assert fault.startswith("The bundle cannot be used from Python: ")


def test_a_bundle_that_fails_the_rehearsal_is_not_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "rehearse", lambda bundle: ["monai.bundle run fails: no reason."])
    with pytest.raises(ValueError, match=r"fails the preflight: monai\.bundle run fails: no reason\."):
        pack(segmentation_run(tmp_path / "run"), "toy", tmp_path / "bundles", rehearsed=True)
    assert list((tmp_path / "bundles").iterdir()) == []


def test_a_command_ends_when_its_folder_goes(tmp_path):
    """Thus a check that is stopped does not wait for the commands that it tries."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_fresh_python, ["-c", "import time; open('../begun', 'w'); time.sleep(600)"], folder)
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        folder.rmdir()
    assert waiting.result().returncode == -signal.SIGKILL
