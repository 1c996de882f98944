"""Scans of two channels, one file each, from the data list to the bundle."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from medssl.data.checking import check_datalist
from medssl.data.datalist import read_datalist
from medssl.packaging.pack import pack
from medssl.runs.folder import read_config
from medssl.runs.record import read_run_record
from medssl.workflows.checking import check_report
from medssl.workflows.preparing import prepare
from medssl.workflows.training import evaluate, pretrain, train_segmentation
from tests.tiny import PRETRAINING, SEGMENTATION


@pytest.fixture(scope="module")
def two_channels(mr_list, tmp_path_factory):
    """The phantoms with another contrast as second channel."""
    folder = tmp_path_factory.mktemp("channels")
    content = json.loads(mr_list.read_text(encoding="utf-8"))
    for section in ("training", "validation", "test", "unlabeled"):
        for case in content.get(section, []):
            image = nib.load(mr_list.parent / case["image"])
            voxels = np.asarray(image.dataobj, np.float32)
            other = np.where(voxels > voxels.mean(), voxels.max() - voxels / 2, voxels)
            second = folder / f"{case['case']}_T2.nii.gz"
            nib.save(nib.Nifti1Image(other.astype(np.float32), image.affine), second)
            case["image"] = [str(mr_list.parent / case["image"]), str(second)]
            case |= {"label": str(mr_list.parent / case["label"])} if "label" in case else {}
    path = folder / "list.json"
    path.write_text(json.dumps({**content, "channels": ["T1", "T2"]}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def backbone(two_channels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    prepared = prepare(two_channels, ["mr"], folder / "store", num_processes=1, overrides={"spacing": [6.0, 6.0, 9.0]})
    assert prepared.failed == {}
    pretrain("kats", two_channels, ["mr"], folder / "run", overrides=PRETRAINING, store=folder / "store")
    return folder / "run"


def test_every_channel_is_checked(two_channels, tmp_path):
    assert not [one for one in check_datalist(two_channels) if one.severity == "error"]
    assert check_report(two_channels, ["mr"])[1] == 0
    content = json.loads(two_channels.read_text(encoding="utf-8"))
    first, second = content["training"][0]["image"]
    image = nib.load(second)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[1:], image.affine), tmp_path / "short.nii.gz")
    content["training"][0]["image"] = [first, str(tmp_path / "short.nii.gz")]
    (tmp_path / "list.json").write_text(json.dumps(content), encoding="utf-8")
    (error,) = [one for one in check_datalist(tmp_path / "list.json") if one.severity == "error"]
    assert error.file.endswith("short.nii.gz") and first in error.problem


def test_the_channels_of_the_list_decide_the_network_and_its_record(backbone):
    config = read_config(backbone)
    assert (config["in_channels"], config["channel_names"]) == (2, ["T1", "T2"])
    assert read_run_record(backbone)["datalist"]["channels"] == ["T1", "T2"]


@pytest.mark.slow
def test_a_bundle_names_them_and_takes_a_file_for_each(two_channels, backbone, tmp_path):
    run = tmp_path / "probe"
    train_segmentation(
        "linear_probe", two_channels, ["mr"], run, backbone=backbone, num_labels=1, overrides=SEGMENTATION
    )
    evaluate(run)
    bundle = pack(run, "two", tmp_path / "bundles", zip_bundle=False)
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    image = metadata["network_data_format"]["inputs"]["image"]
    assert image["num_channels"] == 2 and image["channel_def"] == {"0": "T1", "1": "T2"}
    case = read_datalist(two_channels).section("test")[0]
    for channel, file in enumerate(case["image"]):
        nib.save(nib.load(file), tmp_path / f"anna_{channel:04d}.nii.gz")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", bundle / "configs" / "inference.json"]
    command += ["--bundle_root", bundle, "--input", tmp_path / "anna_0000.nii.gz", "--output_dir", tmp_path / "out"]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert nib.load(tmp_path / "out" / "anna_seg.nii.gz").shape == nib.load(case["image"][0]).shape
