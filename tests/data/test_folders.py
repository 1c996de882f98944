from pathlib import Path

import numpy as np
import pytest

from medssl.data.datalist import read_datalist, write_datalist
from medssl.data.folders import build_datalist, parse_label_names
from medssl.scans.headers import read_header
from tests.scans.files import hounsfield, organs, save_itk, save_nifti, save_series


@pytest.fixture
def folders(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    return images, labels


def fill(folder, *names):
    for name in names:
        (folder / name).touch()


def cases(datalist, section):
    return [case["case"] for case in datalist.sections[section]]


def build(folders, **options):
    return build_datalist(*folders, "toy", "CT", **{"label_names": "1=liver", **options})


def test_labels_are_matched_by_name_with_or_without_a_suffix(folders):
    fill(folders[0], "a.nii.gz", "b.nrrd", "c.mha", "d.nii", "e.v2.nii.gz")
    fill(folders[1], "a.nii.gz", "b_seg.nii.gz", "c-label.nrrd", "d.seg.nrrd")
    datalist = build(folders)
    assert cases(datalist, "training") == ["a", "b", "c", "d"]
    assert datalist.sections["training"][1]["label"] == str(folders[1] / "b_seg.nii.gz")
    assert cases(datalist, "unlabeled") == ["e.v2"]


def test_without_labels_all_scans_are_unlabeled(folders):
    fill(folders[0], "a.nii", "b.nii")
    datalist = build_datalist(folders[0], None, "toy", "MR")
    assert cases(datalist, "unlabeled") == ["a", "b"] and datalist.labels == {0: "background"}


def test_labels_may_lie_beside_the_scans(folders):
    fill(folders[0], "a.nii", "a_seg.nii", "b.nii")
    datalist = build((folders[0], folders[0]))
    assert cases(datalist, "training") == ["a"] and cases(datalist, "unlabeled") == ["b"]


def test_a_folder_of_slices_is_a_case(folders):
    save_series(folders[0] / "ct_1", hounsfield())
    fill(folders[0], "a.nii", ".hidden.nii", "notes.txt")
    datalist = build(folders)
    assert cases(datalist, "unlabeled") == ["a", "ct_1"]
    assert datalist.sections["unlabeled"][1]["image"] == str(folders[0] / "ct_1")


def test_the_folder_itself_may_be_a_series(folders):
    save_series(folders[0], hounsfield())
    assert cases(build_datalist(folders[0], None, "toy", "CT"), "unlabeled") == ["images"]


def test_a_label_folder_inside_that_of_the_scans_is_no_scan(tmp_path):
    (tmp_path / "labels").mkdir()
    fill(tmp_path, "a.nii")
    fill(tmp_path / "labels", "a.nii")
    assert cases(build((tmp_path, tmp_path / "labels")), "training") == ["a"]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ((), (), "holds no scan"),
        (("a.txt.gz",), (), "no DICOM series"),
        (("a.nii", "a.nrrd"), (), r"a\.nii and .*a\.nrrd would both be case 'a'"),
        (("a.nii",), ("a.nii", "a_seg.nii"), r"several labels: a\.nii, a_seg\.nii"),
        (("a.nii",), ("b_label.nii",), r"b_label\.nii fits no scan: there is no case 'b'"),
        (("-a.nii",), (), "cannot be part of a file name"),
    ],
)
def test_a_folder_that_cannot_be_listed_is_an_error(folders, images, labels, message):
    fill(folders[0], *images)
    fill(folders[1], *labels)
    with pytest.raises(ValueError, match=message):
        build(folders)


def test_of_two_series_in_a_sub_folder_one_is_taken_and_named(folders, caplog):
    save_series(folders[0] / "study", hounsfield(), uid="1.2.3", skip=range(4, 8))
    save_series(folders[0] / "study", hounsfield(), uid="1.2.4")
    (longest,) = build(folders).sections["unlabeled"]
    assert (longest["case"], Path(longest["image"]).name[:5]) == ("study", "1.2.4")
    assert "holds 2 DICOM series" in caplog.text
    (chosen,) = build(folders, series="1.2.3").sections["unlabeled"]
    assert Path(chosen["image"]).name[:5] == "1.2.3" and read_header(chosen["image"]).shape == (12, 10, 4)
    with pytest.raises(ValueError, match=r"study has no series 'lung'; it holds series \(8 slices, 1\.2\.4\); series"):
        build(folders, series="lung")


def test_series_in_folders_of_their_own_are_listed_by_folder(folders):
    for uid, skip in (("1.2.3", range(4, 8)), ("1.2.4", ())):
        (folders[0] / "patient").mkdir(exist_ok=True)
        save_series(folders[0] / "patient" / uid, hounsfield(), uid=uid, skip=skip)
    (case,) = build(folders).sections["unlabeled"]
    assert (case["case"], case["image"]) == ("patient", str(folders[0] / "patient" / "1.2.4"))


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        build_datalist(tmp_path / "nowhere", None, "toy", "CT")


def test_held_out_cases_are_drawn_once_by_the_seed(folders):
    names = [f"{index}.nii" for index in range(10)]
    fill(folders[0], *names)
    fill(folders[1], *names)
    drawn = [build(folders, seed=seed, num_validation=2, num_test=3) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] and drawn[0] != drawn[2]
    sizes = {section: len(found) for section, found in drawn[0].sections.items()}
    assert sizes == {"training": 5, "validation": 2, "test": 3, "unlabeled": 0}
    assert len({case for section in sizes for case in cases(drawn[0], section)}) == 10


def test_holding_out_every_labelled_case_is_an_error(folders):
    fill(folders[0], "a.nii", "b.nii")
    fill(folders[1], "a.nii", "b.nii")
    with pytest.raises(ValueError, match="2 held-out of 2 labelled cases"):
        build(folders, num_validation=1, num_test=1)


def test_names_are_taken_from_the_values_found(folders):
    fill(folders[0], "a.nii")
    save_itk(folders[1] / "a.nrrd", organs())
    assert build(folders, label_names=None).labels == {0: "background", 1: "label_1", 2: "label_2"}


def test_values_with_gaps_need_renumbering(folders):
    fill(folders[0], "a.nii")
    save_itk(folders[1] / "a.nrrd", organs() * 2)
    with pytest.raises(ValueError, match=r"\[0, 2, 4\]; renumber"):
        build(folders, label_names=None)


def test_a_label_of_nan_gives_no_names(folders):
    fill(folders[0], "a.nii")
    save_nifti(folders[1] / "a.nii", np.full((4, 4, 4), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"a\.nii contains NaN or Inf"):
        build(folders, label_names=None)


def test_names_can_be_given_as_a_mapping(folders):
    fill(folders[0], "a.nii")
    assert build(folders, label_names={1: "liver"}).labels == {0: "background", 1: "liver"}


@pytest.mark.parametrize("text", ["liver", "1=liver,1=spleen", "=liver", "1=", "-1=liver", ""])
def test_names_that_cannot_be_parsed_are_an_error(text):
    with pytest.raises(ValueError, match="give every value once"):
        parse_label_names(text)


def test_a_built_list_can_be_written_and_read(folders, tmp_path):
    fill(folders[0], "a.nii", "b.nii")
    fill(folders[1], "a.nii")
    datalist = build(folders)
    assert read_datalist(write_datalist(datalist, tmp_path / "list.json")).sections == datalist.sections
