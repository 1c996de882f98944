"""Files that nnU-Net would number are the channels of a case; other numbers count cases."""

import numpy as np
import pytest

from medssl.data.checking import check_datalist
from medssl.data.datalist import load_section, read_datalist, write_datalist
from medssl.data.folders import build_datalist
from medssl.scans.loading import VerifiedLoadImaged
from tests.scans.files import hounsfield, organs, save_nifti


def fill(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.nii.gz").touch()
    return folder


def save(folder, *names):
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate(names):
        save_nifti(folder / f"{name}.nii.gz", hounsfield(seed) + 1000)
    return folder


def cases(datalist):
    return {case["case"]: case["image"] for section in datalist.sections.values() for case in section}


def test_numbered_files_are_the_channels_of_a_case(tmp_path):
    images = save(tmp_path / "images", "anna_0000", "anna_0001", "Bo_1_0000", "Bo_1_0001")
    (tmp_path / "labels").mkdir()
    save_nifti(tmp_path / "labels" / "anna_seg.nii.gz", organs())
    datalist = build_datalist(images, tmp_path / "labels", "toy", label_names="1=a,2=b")
    assert (datalist.channels, datalist.modality) == (("channel 0", "channel 1"), "MR")
    assert set(cases(datalist)) == {"anna", "Bo_1"}
    read = read_datalist(write_datalist(datalist, tmp_path / "list.json"))
    assert cases(read)["anna"] == [str(images / f"anna_000{number}.nii.gz") for number in (0, 1)]
    assert check_datalist(read.path) == []
    (case,) = load_section(read.path, "training")
    loaded = VerifiedLoadImaged(["image", "label"], ensure_channel_first=True)(case)
    assert np.array_equal(loaded["image"], np.stack([hounsfield(0), hounsfield(1)]) + 1000)


def test_scans_of_one_channel_are_named_without_its_number(tmp_path):
    images = fill(tmp_path / "images", "anna_0000", "bo_0000")
    datalist = build_datalist(images, None, "toy")
    assert set(cases(datalist)) == {"anna", "bo"} and (datalist.channels, datalist.modality) == ((), "CT")


@pytest.mark.parametrize("number", ["0", "1", "0001"])
def test_one_channel_can_be_taken(tmp_path, number):
    images = fill(tmp_path / "images", "anna_0000", "anna_0001", "bo_0000", "bo_0001")
    datalist = build_datalist(images, None, "toy", channel=number)
    assert cases(datalist)["anna"] == str(images / f"anna_000{int(number)}.nii.gz")
    assert datalist.channels == ()


@pytest.mark.parametrize(("channel", "text"), [("2", "no channel '2', but 0 to 1"), ("T1w", "no channel 'T1w'")])
def test_a_channel_that_is_not_there_is_named(tmp_path, channel, text):
    images = fill(tmp_path / "images", "anna_0000", "anna_0001", "bo_0000", "bo_0001")
    with pytest.raises(ValueError, match=text):
        build_datalist(images, None, "toy", channel=channel)


def test_a_folder_without_channels_has_none_to_choose(tmp_path):
    with pytest.raises(ValueError, match="no channels to choose 'T1w' from"):
        build_datalist(fill(tmp_path / "images", "anna", "bo"), None, "toy", channel="T1w")


def test_a_missing_channel_is_named(tmp_path):
    images = fill(tmp_path / "images", "anna_0000", "anna_0001", "bo_0000")
    with pytest.raises(ValueError, match=r"holds no bo_0001, a channel of case 'bo' .*; add it"):
        build_datalist(images, None, "toy")


@pytest.mark.parametrize(
    ("scans", "labels"),
    [
        (["scan_0000", "scan_0001", "scan_0002"], []),  # one name: the numbers count scans
        (["anna_0000", "anna_0001", "bo_0000", "bo_0001"], ["anna_0001"]),  # a label has a number
        (["anna_0000", "anna_0001", "bo_0000", "bo_0001", "carl"], []),  # a scan has none
        (["anna_0001", "anna_0002", "bo_0001", "bo_0002"], []),  # channels are numbered from 0
        (["anna_01", "anna_02", "bo_01", "bo_02"], []),  # and have four digits
    ],
)
def test_other_numbers_count_scans(tmp_path, scans, labels):
    images = fill(tmp_path / "images", *scans)
    folder = fill(tmp_path / "labels", *labels) if labels else None
    assert set(cases(build_datalist(images, folder, "toy", label_names="1=a"))) == set(scans)


def test_a_label_says_that_the_only_case_has_channels(tmp_path):
    images = fill(tmp_path / "images", "anna_0000", "anna_0001")
    datalist = build_datalist(images, fill(tmp_path / "labels", "anna"), "toy", label_names="1=a")
    assert set(cases(datalist)) == {"anna"} and len(datalist.channels) == 2


def test_pictures_with_numbers_are_cases(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for name in ("anna_0000", "anna_0001", "bo_0000", "bo_0001"):
        (images / f"{name}.png").touch()
    assert len(cases(build_datalist(images, None, "toy"))) == 4
