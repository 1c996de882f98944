import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImage

from medssl.scans.headers import read_header
from medssl.scans.monai_readers import SimpleITKReader
from tests.scans.files import AFFINE, SHAPE, hounsfield, save_itk, save_nifti, save_series


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "series"])
def test_all_formats_tell_the_same(tmp_path, name):
    path = tmp_path / name
    save = save_nifti if ".nii" in name else save_series if name == "series" else save_itk
    header = read_header(save(path, hounsfield()))
    assert header.shape == SHAPE and header.components == 1 and not header.is_complex
    assert np.allclose(header.affine, AFFINE, atol=1e-4)


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1), (0, 0)])
@pytest.mark.parametrize("first", [1.5, 3.0])
def test_the_affine_is_the_one_that_monai_uses(tmp_path, codes, first):
    fields = {"sform_code": codes[0], "qform_code": codes[1], "qoffset_x": 5.0, "srow_x": [first, 0, 0, -20]}
    path = save_nifti(tmp_path / "a.nii", hounsfield(), **fields)
    assert np.allclose(read_header(path).affine, LoadImage(image_only=True)(path).affine)


def test_a_folder_of_one_slice_has_a_header(tmp_path):
    folder = save_series(tmp_path / "ct", hounsfield()[:, :, :1])
    reader = SimpleITKReader()
    header = read_header(folder)
    assert header.shape == (12, 10, 1)
    assert np.allclose(header.affine, reader.get_data(reader.read(folder))[1]["affine"])


def test_big_endian_nifti_2_is_read(tmp_path):
    image = nib.Nifti2Image(hounsfield(), AFFINE, nib.Nifti2Header(endianness=">"))
    nib.save(image, tmp_path / "a.nii.gz")
    assert read_header(tmp_path / "a.nii.gz").shape == SHAPE


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.mha"])
def test_no_header_is_an_error_that_names_the_file(tmp_path, name):
    (tmp_path / name).write_text("nothing here")
    with pytest.raises(ValueError, match=rf"{name} has no readable header \((?!Exception)"):
        read_header(tmp_path / name)
