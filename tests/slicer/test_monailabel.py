"""A packed bundle, served by an unmodified MONAI Label and used by the client of its 3D Slicer plugin."""

from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest

from medssl.packaging.pack import pack
from tests.bundles.test_inference import run_bundle, scan_and_label, write_scan
from tests.packaging.toy_run import segmentation_run
from tests.slicer.serving import asked, serving_bundles

pytestmark = pytest.mark.slicer
CLIENT = Path(__file__).with_name("label_client.py")
NAMES = {1: "liver", 2: "left kidney"}


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with a packed bundle and a folder of studies with one scan."""
    folder = tmp_path_factory.mktemp("monailabel")
    pack(segmentation_run(folder / "run"), "toy", folder / "bundles", zip_bundle=False)
    (folder / "studies").mkdir()
    write_scan(folder / "studies" / "scan.nii.gz")
    write_scan(folder / "upload.nii.gz")
    _, label = scan_and_label()
    nib.save(nib.Nifti1Image(label, nib.load(folder / "upload.nii.gz").affine), folder / "label.nii.gz")
    return folder


@pytest.fixture(scope="module")
def answered(environment, work):
    """The answers in a session of the plugin's client."""
    bundles = list((work / "bundles").iterdir())
    with serving_bundles(environment, bundles, work / "studies", work) as url:
        files = (work / "upload.nii.gz", work / "label.nii.gz", work)
        return asked(environment, CLIENT, url, bundles[0].name, *files)


def test_the_server_names_the_structures(answered):
    (model,) = answered["info"]["models"].values()
    assert model["labels"] == {name: value for value, name in NAMES.items()}
    assert model["config"]["model_filename"] == ["model.pt"]


def test_the_options_of_the_bundle_are_offered(answered):
    (model,) = answered["info"]["models"].values()
    assert {"overlap", "sw_batch_size"} <= set(model["config"])


def test_the_next_scan_is_offered(answered):
    assert answered["sample"]["id"] == "scan"


@pytest.mark.parametrize("result", ["datastore", "session"])
def test_the_result_is_that_of_the_bundle(result, answered, work):
    (bundle,) = (work / "bundles").iterdir()
    if not (work / "out").exists():
        done = run_bundle(bundle, work, input=work / "upload.nii.gz", output_dir=work / "out")
        assert done.returncode == 0, done.stderr
    voxels, header = nrrd.read(str(work / f"{result}.nrrd"))
    nifti = nib.load(work / "out" / "upload_seg.nii.gz")
    assert voxels.dtype == np.uint8
    np.testing.assert_array_equal(voxels, np.asarray(nifti.dataobj))
    to_ras = np.diag([-1, -1, 1]) @ header["space directions"].T
    np.testing.assert_allclose(to_ras, nifti.affine[:3, :3], atol=1e-4)


def test_the_saved_label_is_kept(answered, work):
    assert answered["datastore"]["objects"]["scan"]["labels"]["final"]
    saved = nib.load(work / "studies" / "labels" / "final" / "scan.nii.gz")
    np.testing.assert_array_equal(np.asarray(saved.dataobj), scan_and_label()[1])


def test_the_result_opens_in_slicer(slicer_sees, answered, work):
    seen = slicer_sees(work / "upload.nii.gz", work / "datastore.nrrd")
    assert seen["volume"]["loaded"] and seen["segmentation"]["loaded"]
    _, label = scan_and_label()
    affine = nib.load(work / "upload.nii.gz").affine
    for value, segment in enumerate(seen["segmentation"]["segments"], start=1):
        center = nib.affines.apply_affine(affine, np.argwhere(label == value).mean(axis=0))
        assert np.linalg.norm(center - segment["centroid"]) <= 1.0
