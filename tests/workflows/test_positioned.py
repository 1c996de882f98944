"""A bundle with position: what its preprocessing and its backbone give, and what only position can tell."""

import nibabel as nib
import numpy as np
import pytest
import torch

from medssl.packaging.loading import load_bundle
from medssl.packaging.pack import pack
from medssl.workflows.labelling import Labelling
from medssl.workflows.labelling_carry import LabelledScan
from medssl.workflows.positioned import positioned
from tests.bundles.test_inference import write_scan
from tests.packaging.toy_run import pretraining_run


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a pretraining bundle and a scan."""
    folder = tmp_path_factory.mktemp("positioned")
    pack(pretraining_run(folder / "run"), "toy", folder / "bundles", zip_bundle=False)
    write_scan(folder / "scan.nii.gz")
    return folder


def test_the_preprocessing_adds_two_coordinates_to_what_it_gave_before(work):
    bundle = load_bundle(work / "bundles" / "toy_pretrain")
    scan = {"image": str(work / "scan.nii.gz")}
    before, after = (found.preprocessing()(scan)["image"].numpy() for found in (bundle, positioned(bundle, 2)))
    np.testing.assert_array_equal(after[:1], before)
    assert after.shape[0] == 3
    for axis in (0, 1):
        profile = np.moveaxis(after[1 + axis], axis, 0)
        expected = np.linspace(-0.5, 0.5, len(profile))
        np.testing.assert_allclose(
            profile.reshape(len(profile), -1), np.tile(expected[:, None], profile[0].size), atol=1e-6
        )


def test_the_network_takes_them_and_keeps_its_backbone(work):
    bundle = load_bundle(work / "bundles" / "toy_pretrain")
    once = positioned(bundle, num_classes=2)
    assert once.network.backbone.backbone is bundle.network.backbone
    assert positioned(once, num_classes=2).network.backbone is once.network.backbone
    assert positioned(once, num_classes=2).config == once.config
    with torch.no_grad():
        assert once.network(torch.zeros(1, 3, 16, 16, 16)).shape == (1, 2, 16, 16, 16)


def test_a_trained_model_tells_left_from_right_where_both_look_the_same(work, tmp_path):
    affine, shape = np.diag([1.0, 1, 1, 1]), (32, 24, 16)
    half = np.zeros(shape, np.uint8)
    half[16:] = 1
    for name, seed in (("first", 0), ("second", 1)):
        noise = np.random.default_rng(seed).normal(50, 20, shape).astype(np.float32)
        nib.save(nib.Nifti1Image(noise, affine), tmp_path / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image(half, affine), tmp_path / "label.nii.gz")
    labelling = Labelling(work / "bundles" / "toy_pretrain", tmp_path / "trained", {1: "half"})
    labelling.train([LabelledScan("first", tmp_path / "first.nii.gz", tmp_path / "label.nii.gz")])
    found = labelling.segment(tmp_path / "second.nii.gz")[0].numpy()
    assert (found == half).mean() > 0.9
