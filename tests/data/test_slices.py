import nibabel as nib
import numpy as np
import pytest

from medssl.data.datalist import SECTIONS, Datalist, read_datalist
from medssl.data.slices import cut_slices


@pytest.fixture
def volumes(tmp_path):
    """A list of one labelled and one unlabeled volume of 5 x 4 x 3 voxels, the second turned to LAS."""
    random = np.random.default_rng(0)
    for case, sign in (("anna", 1.0), ("ben", -1.0)):
        affine = np.diag([sign * 1.0, 2.0, 5.0, 1.0])
        nib.save(nib.Nifti1Image(random.integers(0, 99, (5, 4, 3), np.int16), affine), tmp_path / f"{case}.nii.gz")
    nib.save(nib.Nifti1Image(random.integers(0, 2, (5, 4, 3), np.uint8), np.diag([1.0, 2, 5, 1])), tmp_path / "l.nii")
    sections = {
        "test": ({"case": "anna", "image": str(tmp_path / "anna.nii.gz"), "label": str(tmp_path / "l.nii")},),
        "unlabeled": ({"case": "ben", "group": "visit 2", "image": str(tmp_path / "ben.nii.gz")},),
    }
    return Datalist("toy", "MR", {0: "background", 1: "heart"}, sections)


def test_every_slice_stays_in_the_section_and_group_of_its_case(volumes, tmp_path):
    made = read_datalist(cut_slices(volumes, tmp_path / "slices"))
    assert (made.spatial_dims, made.modality, made.labels) == (2, "MR", volumes.labels)
    assert {name: len(made.sections[name]) for name in SECTIONS} == {
        "training": 0,
        "validation": 0,
        "test": 3,
        "unlabeled": 3,
    }
    assert {case["group"] for case in made.section("test")} == {"anna"}
    assert {case["group"] for case in made.section("unlabeled")} == {"visit 2"}


@pytest.mark.parametrize(("axis", "spacing"), [(0, (2, 5)), (1, (1, 5)), (2, (1, 2))])
def test_slices_together_are_the_volume_in_ras(volumes, tmp_path, axis, spacing):
    made = read_datalist(cut_slices(volumes, tmp_path / "slices", axis))
    for section, case in (("test", "anna"), ("unlabeled", "ben")):
        files = [nib.load(entry["image"]) for entry in made.section(section)]
        assert all(file.ndim == 2 and file.header.get_zooms() == spacing for file in files)
        whole = nib.as_closest_canonical(nib.load(tmp_path / f"{case}.nii.gz"))
        np.testing.assert_array_equal(np.stack([file.dataobj for file in files], axis), whole.dataobj)


def test_a_slice_of_one_value_is_left_out(volumes, tmp_path):
    path = tmp_path / "anna.nii.gz"
    voxels = np.asarray(nib.load(path).dataobj).copy()
    voxels[..., 1] = 7
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 2, 5, 1])), path)
    made = read_datalist(cut_slices(volumes, tmp_path / "slices"))
    assert [case["case"] for case in made.section("test")] == ["anna_z0", "anna_z2"]


def test_slices_are_not_cut_again_or_over_other_files(volumes, tmp_path):
    listed = cut_slices(volumes, tmp_path / "slices")
    with pytest.raises(ValueError, match="already lists 2D images"):
        cut_slices(read_datalist(listed), tmp_path / "again")
    with pytest.raises(FileExistsError, match="slices is not empty"):
        cut_slices(volumes, tmp_path / "slices")
    with pytest.raises(ValueError, match="axis=3"):
        cut_slices(volumes, tmp_path / "again", axis=3)


def test_a_volume_that_cannot_be_read_leaves_nothing_behind(volumes, tmp_path):
    (tmp_path / "ben.nii.gz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"ben\.nii\.gz"):
        cut_slices(volumes, tmp_path / "slices")
    assert list((tmp_path / "slices").iterdir()) == []
