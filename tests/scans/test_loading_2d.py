import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.transforms import SaveImage
from PIL import Image

from medssl.scans.loading_2d import LoadImages2Dd, load_label
from medssl.transforms.labels import InvertToLabeld

GREY = np.random.default_rng(0).integers(0, 256, (3, 5), np.uint8)


def saved(pixels, path):
    Image.fromarray(pixels).save(path)
    return str(path)


def test_a_picture_gets_channels_first_and_lies_where_itk_puts_it(tmp_path):
    image = LoadImages2Dd("image")({"image": saved(GREY, tmp_path / "a.png")})["image"]
    assert image.dtype == torch.float32
    np.testing.assert_array_equal(image[0], GREY.T)
    lps = sitk.ReadImage(str(tmp_path / "a.png"))
    corner = np.diag([-1, -1]) @ lps.TransformIndexToPhysicalPoint((4, 2))
    np.testing.assert_array_equal((image.affine.numpy() @ [4, 2, 1])[:2], corner)


def test_what_is_written_back_is_what_was_read(tmp_path):
    image = LoadImages2Dd("image")({"image": saved(GREY, tmp_path / "a.png")})["image"]
    SaveImage(tmp_path, "", output_ext=".png", separate_folder=False, print_log=False, scale=None)(image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), GREY)


@pytest.mark.parametrize(("stored", "wanted"), [(1, 1), (3, 1), (1, 3), (3, 3)])
def test_equal_channels_are_one_channel(tmp_path, stored, wanted):
    pixels = GREY if stored == 1 else np.stack([GREY] * 3, axis=-1)
    image = LoadImages2Dd("image", in_channels=wanted)({"image": saved(pixels, tmp_path / "a.png")})["image"]
    np.testing.assert_array_equal(image, np.stack([GREY.T] * wanted))


def test_colours_are_never_mixed_to_grey(tmp_path):
    path = saved(np.stack([GREY, GREY, 255 - GREY], axis=-1), tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png cannot be used: it has 3 channels.*in_channels is 1.*image_rgb_2d"):
        LoadImages2Dd("image", in_channels=1)({"image": path})


def test_a_slice_keeps_its_spacing_and_gets_the_affine_of_its_plane(tmp_path):
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(GREY.astype(np.int16), np.diag([1.5, 2.5, 8.0, 1.0])), path)
    image = LoadImages2Dd("image")({"image": str(path)})["image"]
    np.testing.assert_array_equal(image[0], GREY)
    np.testing.assert_array_equal(image.affine, np.diag([1.5, 2.5, 1.0]))


def test_a_volume_is_no_image(tmp_path):
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)), path)
    with pytest.raises(ValueError, match=r"a\.nii\.gz.*3 axes, but an image has 2.*medssl slices"):
        LoadImages2Dd("image")({"image": str(path)})


def test_a_mask_of_another_size_than_its_image_is_named(tmp_path):
    sample = {"image": saved(GREY, tmp_path / "a.png"), "label": saved(GREY[:2], tmp_path / "a_mask.png")}
    with pytest.raises(ValueError, match=r"a_mask\.png has 5 x 2 pixels, but .*a\.png has 5 x 3"):
        LoadImages2Dd(["image", "label"])(sample)


def test_a_colour_mask_without_colours_in_the_list_is_named(tmp_path):
    path = saved(np.stack([GREY, GREY, 255 - GREY], axis=-1), tmp_path / "mask.png")
    with pytest.raises(ValueError, match=r"mask\.png is a mask in colours; say in label_colours"):
        load_label(path)


def test_colours_of_the_list_do_not_apply_to_files_of_labels(tmp_path):
    nib.save(nib.Nifti1Image(np.full((4, 3), 2, np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    assert load_label(str(tmp_path / "a.nii.gz"), "1=#ff0000").unique().tolist() == [2]


def test_a_prediction_is_written_on_the_grid_of_a_colour_picture(tmp_path):
    path = saved(np.stack([GREY] * 3, axis=-1), tmp_path / "a.png")
    load = LoadImages2Dd("image", in_channels=3)
    image = load({"image": path})["image"]
    save = SaveImage(tmp_path, "seg", ".nii.gz", np.uint8, separate_folder=False, print_log=False)
    save((image[:1] > 128).to(torch.uint8))
    written = np.asarray(nib.load(tmp_path / "a_seg.nii.gz").dataobj)
    np.testing.assert_array_equal(written, (GREY > 128).T)


def test_images_are_brought_back_to_their_grid(slice_list):
    from medssl.data.datalist import load_section
    from medssl.workflows.preprocessing import preprocessing_transform
    from medssl.workflows.recipes import find_recipe, merge

    recipe = [find_recipe("pretrain/configs", "train"), find_recipe("data", "mr_slices")]
    case = load_section(slice_list, "test")[0]
    prepare = preprocessing_transform(merge(recipe, {}, {"spacing": [3.0, 3.0]}))
    sample = prepare({key: case[key] for key in ("case", "image")})
    stored = nib.load(case["image"])
    assert sample["image"].shape[1:] != stored.shape
    sample["pred"] = sample["image"] * 0 + 1
    label = InvertToLabeld("pred", prepare, "image")(sample)["pred"]
    assert label.shape[1:] == stored.shape
    assert label.unique().tolist() == [1]
