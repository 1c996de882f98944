import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from medssl.scans.monai_readers import SimpleITKReader
from medssl.scans.readers import read_volume
from tests.scans.files import AFFINE, hounsfield, save_itk, save_nifti, save_series


def oblique() -> np.ndarray:
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    affine = AFFINE.copy()
    affine[:3, :3] = turn * np.sign(np.linalg.det(turn)) * [1.5, 1.25, 2.5]
    return affine


@pytest.fixture(params=["scan.nrrd", "scan.mha", "series"])
def scan(request, tmp_path):
    path = tmp_path / request.param
    return (
        save_series(path, hounsfield(), oblique())
        if request.param == "series"
        else save_itk(path, hounsfield(), oblique())
    )


def test_voxels_lie_where_nibabel_says(scan, tmp_path):
    reader = SimpleITKReader()
    array, meta = reader.get_data(reader.read(scan))
    nifti = nib.load(save_nifti(tmp_path / "reference.nii", hounsfield(), oblique()))
    index = np.argwhere(hounsfield() == hounsfield().max())[0]
    assert np.array_equal(array, nifti.get_fdata())
    assert np.allclose(meta["affine"] @ [*index, 1], nifti.affine @ [*index, 1], atol=1e-4)


def test_no_free_text_of_the_header_is_kept(tmp_path):
    reader = SimpleITKReader()
    _, meta = reader.get_data(reader.read(save_series(tmp_path / "ct", hounsfield())))
    assert "Planted" not in repr(meta)


def test_components_come_last(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True), str(tmp_path / "rgb.mha"))
    reader = SimpleITKReader()
    array, meta = reader.get_data(reader.read(tmp_path / "rgb.mha"))
    assert array.shape == (6, 5, 4, 3) and meta["original_channel_dim"] == -1


@pytest.mark.parametrize(
    ("name", "taken"), [("a.nrrd", True), ("a.seg.nrrd", True), ("a.MHA", True), ("a.dcm", True), ("a.nii.gz", False)]
)
def test_the_ending_decides(name, taken):
    assert SimpleITKReader().verify_suffix(name) == taken


def test_several_files_are_not_one_scan():
    with pytest.raises(ValueError, match="2 files are given as one scan"):
        SimpleITKReader().read(["a.mha", "b.mha"])


def test_a_slice_that_cannot_be_decoded_is_named(tmp_path):
    folder = save_series(tmp_path / "ct", np.tile(hounsfield(), (4, 4, 1)), is_compressed=True)
    spoiled = folder / "1.2.3_95.dcm"
    before, start, after = spoiled.read_bytes().partition(b"\xff\x4f\xff\x51")
    spoiled.write_bytes(before + start + bytes(60) + after[60:])
    with pytest.raises(ValueError, match=r"95\.dcm cannot be read"):
        read_volume(folder)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nrrd"])
def test_voxels_are_scaled_and_have_x_first(tmp_path, name):
    if name == "scan.nii.gz":
        path = save_nifti(tmp_path / name, hounsfield(), scl_slope=2, scl_inter=-5)
        assert np.array_equal(read_volume(path), hounsfield() * 2.0 - 5)
    else:
        assert np.array_equal(read_volume(save_itk(tmp_path / name, hounsfield())), hounsfield())
