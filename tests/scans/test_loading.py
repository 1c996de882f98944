import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd

from medssl.scans.loading import VerifiedLoadImaged
from tests.scans.files import AFFINE, hounsfield, organs, save_itk, save_nifti, save_series


def test_it_is_a_load_imaged():
    assert isinstance(VerifiedLoadImaged("image"), LoadImaged)


def test_nifti_is_loaded_as_monai_does(tmp_path):
    path = save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    ours, theirs = (load("image")({"image": path})["image"] for load in (VerifiedLoadImaged, LoadImaged))
    assert ours.equal(theirs) and np.allclose(ours.affine, theirs.affine)


@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha", "series"])
def test_all_formats_give_the_volume_of_the_nifti(tmp_path, name):
    path = tmp_path / name
    _ = save_series(path, hounsfield()) if name == "series" else save_itk(path, hounsfield())
    nifti = save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    transform = Compose(
        [VerifiedLoadImaged("image"), EnsureChannelFirstd("image"), Orientationd("image", axcodes="RAS", labels=None)]
    )
    ours, theirs = (transform({"image": item})["image"] for item in (path, nifti))
    assert ours.shape == (1, 12, 10, 8) and ours.equal(theirs)
    assert np.allclose(ours.affine, theirs.affine, atol=1e-4)


def test_a_label_keeps_its_values(tmp_path):
    path = save_itk(tmp_path / "label.seg.nrrd", organs())
    label = VerifiedLoadImaged("label", ensure_channel_first=True)({"label": path})["label"]
    assert np.array_equal(label[0].numpy(), organs())


def test_metadata_are_given_apart_when_asked_for(tmp_path):
    path = save_itk(tmp_path / "scan.nrrd", hounsfield())
    sample = VerifiedLoadImaged("image", image_only=False)({"image": path})
    assert sample["image_meta_dict"]["spatial_shape"].tolist() == [12, 10, 8]


def test_a_missing_key_can_be_passed_over(tmp_path):
    path = save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    assert set(VerifiedLoadImaged(("image", "label"), allow_missing_keys=True)({"image": path})) == {"image"}


def test_damage_that_monai_would_not_see_is_an_error(tmp_path):
    path = save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    LoadImaged("image")({"image": path})
    with pytest.raises(ValueError, match=r"scan\.nii\.gz is damaged"):
        VerifiedLoadImaged("image")({"image": path})


def test_the_damaged_one_of_two_files_is_named(tmp_path):
    image = save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    label = save_nifti(tmp_path / "label.nii.gz", organs())
    label.write_bytes(label.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"/label\.nii\.gz is damaged"):
        VerifiedLoadImaged(("image", "label"))({"image": image, "label": label})


def test_an_affine_of_nan_is_an_error(tmp_path):
    path = save_nifti(tmp_path / "scan.nii", hounsfield(), AFFINE * np.nan)
    with pytest.raises(ValueError, match=r"scan\.nii cannot be used: its affine contains NaN"):
        VerifiedLoadImaged("image")({"image": path})


@pytest.mark.parametrize("name", ["scan.txt", "scan.npy"])
def test_what_the_reader_refuses_is_named(tmp_path, name):
    (tmp_path / name).write_text("no scan")
    with pytest.raises(ValueError, match=f"{name} cannot be read"):
        VerifiedLoadImaged("image")({"image": tmp_path / name})


def test_a_reader_of_monai_can_be_asked_for(tmp_path):
    path = save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    loaded = VerifiedLoadImaged("image", reader="NibabelReader")({"image": path})["image"]
    assert np.array_equal(loaded.numpy(), nib.load(path).get_fdata())
