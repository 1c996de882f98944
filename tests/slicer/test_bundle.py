"""A packed bundle's output loads in 3D Slicer's own classes in the right place, with the right names."""

import nibabel as nib
import numpy as np
import pytest

from medssl.packaging.pack import pack
from tests.bundles.test_inference import run_bundle, scan_and_label, write_scan
from tests.packaging.toy_run import LABELS, segmentation_run
from tests.slicer.test_segmentation import require_same

pytestmark = [pytest.mark.slicer]


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    """The folder of an oblique, anisotropic, left-handed scan and of its segmentation by a bundle."""
    folder = tmp_path_factory.mktemp("bundle")
    bundle = pack(segmentation_run(folder / "run"), "toy", folder / "bundles")
    write_scan(folder / "scan.nii.gz")
    done = run_bundle(bundle, folder, input=folder / "scan.nii.gz", output_dir=folder / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_segmentation_equals_the_nifti_file(slicer_sees, segmented):
    nifti = nib.load(segmented / "out" / "scan_seg.nii.gz")
    names = {int(value): name for value, name in LABELS.items() if value != "0"}
    seen = slicer_sees(segmented / "scan.nii.gz", segmented / "out" / "scan_seg.seg.nrrd")
    require_same(seen, np.asarray(nifti.dataobj), nifti.affine, names)


def test_every_structure_lies_where_it_is_in_the_scan(slicer_sees, segmented):
    _, label = scan_and_label()
    affine = nib.load(segmented / "scan.nii.gz").affine
    seen = slicer_sees(segmented / "scan.nii.gz", segmented / "out" / "scan_seg.seg.nrrd")
    for value, segment in enumerate(seen["segmentation"]["segments"], start=1):
        center = nib.affines.apply_affine(affine, np.argwhere(label == value).mean(axis=0))
        # The bundle works at 1 x 1 x 2 mm: half of its voxel.
        assert np.linalg.norm(center - segment["centroid"]) <= 1.0, segment["name"]
