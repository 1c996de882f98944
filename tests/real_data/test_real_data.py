"""Small pieces of the real scans in ../shared/data."""

import json
import tarfile
from pathlib import Path, PurePosixPath

import nibabel as nib
import numpy as np
import pytest
import torch

from medssl.data.folders import build_datalist
from medssl.packaging.sources import source_bundles
from medssl.scans.loading import VerifiedLoadImaged
from medssl.workflows.checking import check_report
from medssl.workflows.training import evaluate, pretrain, train_segmentation
from tests.real_data.hippocampus import list_of_six

pytestmark = pytest.mark.real_data
DATA = ["mr", "hippocampus"]
TINY = {"patch_size": [16, 16, 16], "num_workers": 0, "max_epochs": 1, "learning_rate": 0.01}
NETWORK = {"base_channels": 4, "num_levels": 3}


@pytest.fixture(scope="module")
def hippocampus(shared_data, tmp_path_factory) -> Path:
    """A data list of six pairs, three of them for training."""
    return list_of_six(shared_data, tmp_path_factory.mktemp("hippocampus"))


def test_six_pairs_have_no_faults(hippocampus):
    lines, num_errors = check_report(hippocampus, DATA)
    assert num_errors == 0
    assert len(lines) == 7
    assert lines[-1].startswith("6 cases, 0 errors")


def test_a_few_steps_of_the_whole_pipeline(hippocampus, tmp_path):
    overrides = {**TINY, **NETWORK, "steps_per_epoch": 2, "pairs_per_batch": 2, "num_voxels": 32, "shuffle_blocks": 20}
    backbone = pretrain("kats", hippocampus, DATA, tmp_path / "pretrain", overrides=overrides)
    assert all(torch.isfinite(value.float()).all() for value in torch.load(backbone, weights_only=True).values())
    run = tmp_path / "probe"
    train_segmentation("linear_probe", hippocampus, DATA, run, backbone=backbone.parent, overrides=TINY)
    rows = [json.loads(line) for line in evaluate(run).read_text(encoding="utf-8").splitlines()]
    assert [row["class"] for row in rows] == ["anterior", "posterior"] * 2
    assert all(0 <= row["dice"] <= 1 and row["reference_voxels"] > 100 for row in rows)


def test_the_committed_split_is_that_of_the_command(shared_data):
    folder = shared_data / "msd-hippocampus"
    made = build_datalist(
        folder / "images", folder / "labels", "hippocampus", "MR", seed=0, num_validation=5, num_test=30
    )
    committed = json.loads((source_bundles() / "protocols" / "hippocampus_split.json").read_text(encoding="utf-8"))
    assert {name: [case["case"] for case in made.section(name)] for name in committed} == committed
    assert [len(committed[name]) for name in ("validation", "test")] == [5, 30]
    assert len(made.section("training")) == 95


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive whose members all stay inside the folder; return their folder."""
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if member.isfile()]
        assert all(not PurePosixPath(m.name).is_absolute() and ".." not in PurePosixPath(m.name).parts for m in members)
        tar.extractall(folder, members, filter="data")
    (series,) = {(folder / member.name).parent for member in members}
    return series


def in_ras(image: nib.Nifti1Image) -> nib.Nifti1Image:
    return nib.as_closest_canonical(image)


def test_a_dicom_series_lies_where_its_label_lies(shared_data, tmp_path):
    folder = shared_data / "totalsegmentator-tests"
    series = unpack(folder / "example_ct_dicom.tar.xz", tmp_path)
    scan = VerifiedLoadImaged("image")({"image": str(series)})["image"]
    image = in_ras(nib.Nifti1Image(scan.numpy(), np.asarray(scan.affine, float)))
    label = in_ras(nib.load(folder / "example_seg_dicom.nii.gz"))
    assert image.shape == label.shape
    np.testing.assert_allclose(image.affine, label.affine, atol=1e-3)
    # Labelled organs lie on soft tissue only if no axis is flipped; TotalSegmentator's 5 is the liver.
    liver = image.get_fdata()[np.asarray(label.dataobj) == 5]
    flipped = image.get_fdata()[:, ::-1][np.asarray(label.dataobj) == 5]
    assert len(liver) > 300_000
    assert 0 < np.median(liver) < 200
    assert liver.std() < 60 < flipped.std()
