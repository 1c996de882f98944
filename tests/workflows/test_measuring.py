import gzip

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medssl.workflows.measuring import measure_case

LABELS = {0: "background", 1: "liver", 2: "spleen"}


def write(path, voxels, affine):
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


@pytest.fixture
def scan():
    voxels = np.random.default_rng(0).normal(size=(20, 24, 12)).astype(np.float32)
    mask = np.zeros(voxels.shape, np.uint8)
    mask[5:15, 6:18, 4:8] = 1
    return voxels + 4 * mask, mask


def test_a_scan_is_measured_in_mm_along_right_anterior_superior(scan, tmp_path):
    # Stored as superior, left, anterior.
    affine = np.array([[0, -2.0, 0, 0], [0, 0, 3.0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]])
    found = measure_case(
        *(write(tmp_path / f"{name}.nii.gz", voxels, affine) for name, voxels in zip("ab", scan, strict=True)), LABELS
    )
    assert found.spacing == (2.0, 3.0, 1.0)
    assert found.extent == (48.0, 36.0, 20.0)
    assert found.structures["liver"].extent == (24.0, 12.0, 10.0)
    assert found.structures["liver"].size == pytest.approx(10 * 12 * 4 * 6 / 1000)
    assert found.structures["liver"].contrast > 2


def test_a_structure_that_a_label_lacks_is_left_out(scan, tmp_path):
    files = [write(tmp_path / f"{n}.nii", v, np.eye(4)) for n, v in zip("ab", scan, strict=True)]
    assert list(measure_case(*files, LABELS).structures) == ["liver"]


def test_a_picture_with_a_colour_mask_is_measured_in_pixels(tmp_path):
    mask = np.zeros((40, 60, 3), np.uint8)
    mask[10:20, 15:45] = (255, 0, 0)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "b.png")
    found = measure_case(
        *(tmp_path / "a.png", tmp_path / "b.png", {0: "background", 1: "cell"}, 2, "image"),
        {0: (0, 0, 0), 1: (255, 0, 0)},
    )
    assert found.spacing == (1.0, 1.0) and found.extent == (60.0, 40.0)
    assert found.structures["cell"].extent == (30.0, 10.0)
    assert found.structures["cell"].size == 300


def test_a_damaged_scan_is_named(scan, tmp_path):
    image = write(tmp_path / "a.nii.gz", scan[0], np.eye(4))
    label = write(tmp_path / "b.nii", scan[1], np.eye(4))
    whole = gzip.decompress(image.read_bytes())
    image.write_bytes(gzip.compress(whole)[:-30])
    with pytest.raises(ValueError, match=r"a\.nii\.gz cannot be used: "):
        measure_case(image, label, LABELS)


def test_a_label_on_another_grid_or_with_unnamed_values_is_named(scan, tmp_path):
    image = write(tmp_path / "a.nii", scan[0], np.eye(4))
    for mask in (scan[1][:-1], scan[1] * 7):
        with pytest.raises(ValueError, match=r"b\.nii cannot be used: "):
            measure_case(image, write(tmp_path / "b.nii", mask, np.eye(4)), LABELS)
