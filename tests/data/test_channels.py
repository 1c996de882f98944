"""Scans whose channels lie in one 4D file, as the Medical Segmentation Decathlon publishes brains and prostates."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from medssl.data.checking import check_datalist
from medssl.data.datalist import load_section, read_datalist, write_datalist
from medssl.data.held_out import draw_datalist
from medssl.data.slices import cut_slices
from medssl.data.store import describe_source
from medssl.scans.loading import VerifiedLoadImaged
from tests.scans.files import hounsfield, organs, save_nifti

NAMES = ["FLAIR", "T1w", "t1gd", "T2w"]


def channels(count: int, seed: int = 0) -> np.ndarray:
    """Return different channels along the last axis."""
    return np.stack([hounsfield(10 * seed + number) + 1000 for number in range(count)], axis=-1)


@pytest.fixture
def brains(tmp_path):
    """The list of Task01_BrainTumour, but for the numbers of cases and labels."""
    for kind in ("imagesTr", "labelsTr", "imagesTs"):
        (tmp_path / kind).mkdir()
    for number in (1, 2):
        save_nifti(tmp_path / f"imagesTr/BRATS_00{number}.nii.gz", channels(4, number))
        save_nifti(tmp_path / f"labelsTr/BRATS_00{number}.nii.gz", organs())
    save_nifti(tmp_path / "imagesTs/BRATS_003.nii.gz", channels(4, 3))
    files = [f"Tr/BRATS_00{number}.nii.gz" for number in (1, 2)]
    content = {
        "name": "BRATS",
        "tensorImageSize": "4D",
        "modality": {str(number): name for number, name in enumerate(NAMES)},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor"},
        "training": [{"image": f"./images{file}", "label": f"./labels{file}"} for file in files],
        "test": ["./imagesTs/BRATS_003.nii.gz"],
    }
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(content))
    return path


def images(path, section="training+unlabeled"):
    load = VerifiedLoadImaged(["image", "label"], ensure_channel_first=True, allow_missing_keys=True)
    return [load(case)["image"] for case in load_section(path, section)]


def test_the_volumes_of_a_file_are_channels_in_their_order(brains):
    datalist = read_datalist(brains)
    assert datalist.channels == tuple(NAMES) and datalist.modality == "MR"
    for number, image in enumerate(images(brains), start=1):
        assert np.array_equal(image, np.moveaxis(channels(4, number), -1, 0))


def test_vectors_of_other_formats_are_channels_too(brains, tmp_path):
    image = sitk.ReadImage(str(brains.parent / "imagesTr/BRATS_001.nii.gz"))
    vectors = sitk.Compose([sitk.Extract(image, (*image.GetSize()[:3], 0), (0, 0, 0, i)) for i in range(4)])
    for name in ("a.nrrd", "a.mha", "a.nii.gz"):
        sitk.WriteImage(vectors, str(tmp_path / name))
        content = {"name": "toy", "modality": "MR", "channels": NAMES, "unlabeled": [{"image": name}]}
        (tmp_path / "list.json").write_text(json.dumps(content))
        assert check_datalist(tmp_path / "list.json") == []
        (found,) = images(tmp_path / "list.json", "unlabeled")
        assert np.array_equal(found, images(brains)[0])
        np.testing.assert_allclose(found.affine, images(brains)[0].affine)


@pytest.mark.parametrize("channel", ["t1gd", "T1GD", "2"])
def test_one_channel_can_be_taken(brains, channel, tmp_path):
    written = write_datalist(draw_datalist(brains, channel), tmp_path / "one.json")
    assert read_datalist(written).channels == ()
    (first, *_) = images(written)
    assert np.array_equal(first, channels(4, 1)[None, ..., 2])
    assert check_datalist(written) == []


def test_such_a_list_is_written_with_its_files_and_read_again(brains, tmp_path):
    written = write_datalist(read_datalist(brains), tmp_path / "list.json")
    content = json.loads(written.read_text())
    assert content["channels"] == NAMES and content["training"][0]["image"] == "imagesTr/BRATS_001.nii.gz"
    assert read_datalist(written).sections == read_datalist(brains).sections


def test_it_passes_the_check(brains):
    assert check_datalist(brains) == []


def test_a_bad_channel_is_named_by_its_number(brains):
    voxels = channels(4, 1)
    voxels[..., 2] = 7
    save_nifti(brains.parent / "imagesTr/BRATS_001.nii.gz", voxels)
    (finding,) = check_datalist(brains)
    assert finding.severity == "error" and finding.problem.startswith("all its voxels are 7")
    assert finding.file.endswith("BRATS_001.nii.gz#2of4")
    with pytest.raises(ValueError, match=r"BRATS_001\.nii\.gz cannot be used: all its voxels are 7"):
        images(brains)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (channels(3), "it holds 3 channels where 4 are wanted"),
        (hounsfield(), "it holds one channel where 4 are wanted"),
        (channels(4).reshape(12, 10, 8, 2, 2), "it holds several volumes"),
    ],
)
def test_a_file_with_another_number_of_channels_is_refused_by_name(brains, shape, text):
    save_nifti(brains.parent / "imagesTr/BRATS_001.nii.gz", shape)
    (finding,) = [one for one in check_datalist(brains) if one.case == "BRATS_001"]
    assert finding.severity == "error" and text in finding.problem
    assert finding.file.endswith("BRATS_001.nii.gz")
    with pytest.raises(ValueError, match=rf"BRATS_001\.nii\.gz cannot be used: {text}"):
        images(brains)


def test_a_time_series_without_names_of_channels_is_refused(tmp_path):
    save_nifti(tmp_path / "bold.nii.gz", channels(4))
    content = {"name": "toy", "modality": "MR", "unlabeled": [{"image": "bold.nii.gz"}]}
    path = tmp_path / "list.json"
    path.write_text(json.dumps(content))
    (finding,) = check_datalist(path)
    assert finding.severity == "error"
    assert "it holds several volumes (12 x 10 x 8 x 4)" in finding.problem
    assert "name them in 'channels'" in finding.problem and "split a time series" in finding.problem
    path.write_text(json.dumps({**content, "channels": NAMES}))
    assert check_datalist(path) == []


def test_a_fourth_axis_of_one_entry_is_a_scan_of_three_axes(tmp_path):
    save_nifti(tmp_path / "a.nii.gz", hounsfield()[..., None])
    content = {"name": "toy", "modality": {"0": "CT"}, "training": [], "test": ["a.nii.gz"]}
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(content))
    assert check_datalist(path) == []
    (image,) = images(path, "unlabeled")
    assert np.array_equal(image, hounsfield()[None])


def test_slices_have_the_channels_too(brains, tmp_path):
    made = cut_slices(read_datalist(brains), tmp_path / "slices")
    listed = read_datalist(made)
    assert listed.channels == tuple(NAMES) and len(listed.sections["training"][0]["image"]) == 4
    assert not [finding for finding in check_datalist(made) if finding.severity == "error"]


def test_what_is_stored_depends_on_the_channels_taken(brains):
    of_all, of_one = (read_datalist(brains, channel).sections["training"][0]["image"] for channel in (None, "T1w"))
    assert describe_source(of_all)["name"] == describe_source(of_one)["name"] == "BRATS_001.nii.gz"
    assert describe_source(of_all)["sha256"] != describe_source(of_one)["sha256"]
