"""Runs and bundles of version 0.1 still serve: to segment, to start a probe, to be checked, evaluated and packed."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from medssl.evaluation.metrics import read_rows
from medssl.files import file_sha256
from medssl.packaging.checks.checking import check_packed
from medssl.packaging.loading import load_bundle
from medssl.packaging.pack import pack
from medssl.workflows.training import evaluate, train_segmentation
from tests.former_version import unpack, write_scans
from tests.tiny import SEGMENTATION, start

PROBE_BUNDLE = "bundles/old_linear_probe_segmentation"
PRETRAIN_BUNDLE = "bundles/old_pretrain"


@pytest.fixture(scope="module")
def former(tmp_path_factory):
    """The folder of the runs and bundles, not to be changed."""
    return unpack(tmp_path_factory.mktemp("former"))


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return write_scans(tmp_path_factory.mktemp("scans"))


def test_the_scans_of_the_fixture_are_those_of_its_runs(former, scans):
    record = json.loads((former / "pretrained/run.json").read_text(encoding="utf-8"))
    assert file_sha256(scans) == record["datalist"]["sha256"]


@pytest.mark.slow
def test_a_bundle_segments_a_scan_with_monais_own_command(former, scans, tmp_path):
    bundle, scan = former / PROBE_BUNDLE, next((scans.parent / "images").glob("*.nii.gz"))
    options = ["--config_file", bundle / "configs/inference.json", "--bundle_root", bundle, "--input", scan]
    process = start("run", *options, "--output_dir", tmp_path / "out", cwd=tmp_path, module="monai.bundle")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    (written,) = (tmp_path / "out").glob("*_seg.nii.gz")
    image, segmentation = nib.load(scan), nib.load(written)
    assert segmentation.shape == image.shape
    np.testing.assert_allclose(segmentation.affine, image.affine, atol=1e-5)
    assert set(np.unique(segmentation.dataobj)) <= set(range(10))


@pytest.mark.parametrize("bundle", [PROBE_BUNDLE, PRETRAIN_BUNDLE])
def test_a_bundle_gives_what_it_gave_as_torchscript(bundle, former):
    loaded = load_bundle(former / bundle)
    script = torch.jit.load(former / bundle / "models/model.ts")
    image = torch.rand(1, 1, 16, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(image), script(image))


def test_a_bundle_of_a_pretraining_passes_the_quick_check(former):
    assert check_packed(former / PRETRAIN_BUNDLE, quick=True) == []


@pytest.mark.slow
def test_a_bundle_of_a_probe_passes_every_check(former):
    assert check_packed(former / PROBE_BUNDLE) == []


@pytest.mark.parametrize("backbone", ["pretrained", PRETRAIN_BUNDLE])
def test_a_probe_starts_from_the_backbone(backbone, former, scans, tmp_path):
    settings = {**SEGMENTATION, "steps_per_epoch": 1, "checkpoint_every": 1}
    train_segmentation(
        "linear_probe", scans, ["ct"], tmp_path / "run", backbone=former / backbone, num_labels=1, overrides=settings
    )
    trained = torch.load(tmp_path / "run/model.pt", weights_only=True)
    for name, value in torch.load(former / "pretrained/backbone.pt", weights_only=True).items():
        assert torch.equal(trained[f"backbone.{name}"], value), name


def test_a_run_is_evaluated_and_packed(former, scans, tmp_path):
    run = unpack(tmp_path) / "probed"
    rows = read_rows(evaluate(run, scans))
    assert len(rows) == 9
    assert pack(run, "new", zip_bundle=False).is_dir()


def test_a_pretraining_run_is_packed(former, tmp_path):
    bundle = pack(former / "pretrained", "new", tmp_path, zip_bundle=False)
    torch.testing.assert_close(
        load_bundle(bundle).network.state_dict(), load_bundle(former / PRETRAIN_BUNDLE).network.state_dict()
    )
