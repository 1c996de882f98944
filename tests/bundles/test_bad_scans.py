"""A packed bundle refuses a scan with unusable voxels by its name, and leaves whole files of the others alone."""

import nibabel as nib
import numpy as np
import pytest

from medssl.packaging.pack import pack
from tests.bundles.test_inference import run_bundle, write_scan, write_scan_with_nan
from tests.packaging.toy_run import pretraining_run, segmentation_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["segmentation", "pretraining"])
def bundle(request, tmp_path_factory):
    make = {"segmentation": segmentation_run, "pretraining": pretraining_run}[request.param]
    return pack(make(tmp_path_factory.mktemp("run")), "toy", tmp_path_factory.mktemp("bundles"))


def test_a_scan_with_nan_is_refused_by_name_and_leaves_nothing_half_written(bundle, tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    write_scan(scans / "a.nii.gz")
    write_scan_with_nan(scans / "b.nii.gz")
    result = run_bundle(bundle, tmp_path, input=scans, output_dir=tmp_path / "out")
    assert result.returncode != 0
    assert f"{scans / 'b.nii.gz'} cannot be used: {60 * 70} of its voxels are NaN" in result.stderr
    left = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert left and all(name.startswith("a_") for name in left)
    for name in left:
        if name.endswith(".nii.gz"):
            assert np.isfinite(nib.load(tmp_path / "out" / name).get_fdata()).all()
