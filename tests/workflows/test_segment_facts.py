import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from medssl.transforms.save import segmentation_header
from medssl.workflows import segment_memory
from medssl.workflows.segment_facts import are_known, mask_facts, scan_facts
from medssl.workflows.segment_memory import require_patch_memory

SHAPE = (6, 5, 4)


def write_scan(path, low=-1000.0, affine=None):
    values = np.linspace(low, 1500, np.prod(SHAPE)).reshape(SHAPE).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0]) if affine is None else affine), path)
    return path


def test_sizes_are_along_right_anterior_and_superior(tmp_path):
    turned = np.array([[0, 0, 3.0, 0], [1.0, 0, 0, 0], [0, -2.0, 0, 0], [0, 0, 0, 1]])
    found = scan_facts(write_scan(tmp_path / "a.nii.gz", affine=turned), tmp_path / "kept.json")
    assert found.shape == [4, 6, 5] and found.spacing == [3.0, 1.0, 2.0]
    assert found.extent == (12.0, 6.0, 10.0)


@pytest.mark.parametrize(("low", "modality"), [(-1000.0, "CT"), (-125.0, "CT"), (0.0, "MR")])
def test_values_of_air_tell_ct_from_mr(tmp_path, low, modality):
    assert scan_facts(write_scan(tmp_path / "a.nii.gz", low), tmp_path / "kept.json").modality == modality


def test_dicom_says_its_modality(tmp_path):
    writer = sitk.ImageFileWriter()
    (tmp_path / "series").mkdir()
    for number in range(3):
        plane = sitk.GetImageFromArray(np.random.default_rng(number).integers(0, 99, (8, 8)).astype(np.int16))
        for key, value in {
            "0008|0060": "CT",
            "0020|000e": "1.2.3",
            "0020|0032": f"0\\0\\{number}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(number),
        }.items():
            plane.SetMetaData(key, value)
        writer.SetFileName(str(tmp_path / "series" / f"{number}.dcm"))
        writer.KeepOriginalImageUIDOn()
        writer.Execute(plane)
    assert scan_facts(tmp_path / "series", tmp_path / "kept.json").modality == "CT"


def test_facts_are_kept_until_the_file_changes(tmp_path):
    path, kept = write_scan(tmp_path / "a.nii.gz"), tmp_path / "kept.json"
    first = scan_facts(path, kept)
    assert are_known(path, kept) and scan_facts(path, kept) == first
    write_scan(path, low=-500.0)
    assert not are_known(path, kept)
    assert scan_facts(path, kept).low == -500.0


def test_a_scan_larger_than_memory_is_not_read_and_tried_again_later(tmp_path, monkeypatch):
    path, kept = write_scan(tmp_path / "a.nii.gz"), tmp_path / "kept.json"
    monkeypatch.setattr(segment_memory, "free_memory", lambda: 1000)
    assert "6 x 5 x 4 voxels" in scan_facts(path, kept).problem
    monkeypatch.undo()
    assert scan_facts(path, kept).problem == ""


def test_a_patch_larger_than_memory_is_an_error():
    require_patch_memory([16, 16, 16], 16, 2)
    with pytest.raises(ValueError, match="smaller --patch_size"):
        require_patch_memory([4096, 4096, 4096], 16, 2)


def test_a_mask_tells_its_values_and_the_names_of_slicer(tmp_path):
    scan = write_scan(tmp_path / "a.nii.gz")
    mask = np.zeros(SHAPE, np.uint8)
    mask[1], mask[2, 0] = 1, 2
    header = segmentation_header(SHAPE, nib.load(scan).affine, {1: "liver", 2: "left kidney"})
    nrrd.write(str(tmp_path / "a.seg.nrrd"), mask, header, index_order="F")
    found = mask_facts(tmp_path / "a.seg.nrrd", scan, tmp_path / "kept.json")
    assert found.segments == {"1": "liver", "2": "left kidney"}
    assert found.counts == {"1": 20, "2": 4} and found.problem == ""


def test_a_mask_on_another_grid_and_an_empty_one_cannot_be_used(tmp_path):
    scan = write_scan(tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4)), tmp_path / "other.nii")
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), nib.load(scan).affine), tmp_path / "empty.nii")
    assert "resample the label" in mask_facts(tmp_path / "other.nii", scan, tmp_path / "1.json").problem
    assert "the mask is empty" in mask_facts(tmp_path / "empty.nii", scan, tmp_path / "2.json").problem
