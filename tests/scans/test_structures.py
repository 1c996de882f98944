"""Which structures a DICOM SEG or RTSTRUCT has, and which scan it belongs to."""

import numpy as np
import pytest

from medssl.scans.structure_labels import read_structures
from medssl.scans.structures import names_as_text, structure_names, structure_path
from tests.scans.dicom_writer import save_index, save_slices
from tests.scans.files import AFFINE, SHAPE, cut, hounsfield, organs, save_nifti
from tests.scans.structure_writer import save_contours, save_seg, to_lps, with_frame_of_reference

SQUARE = to_lps(np.array([[3, 3, 5], [6, 3, 5], [6, 6, 5], [3, 6, 5.0]]), AFFINE)


@pytest.fixture
def scan(tmp_path):
    return save_slices(tmp_path / "ct", hounsfield(), AFFINE, edit=with_frame_of_reference)


def seg(path, **masks):
    return save_seg(path, masks or {"liver": organs() == 1, "spleen": organs() == 2}, AFFINE)


def test_what_stands_for_a_segmentation(tmp_path, scan):
    file = seg(tmp_path / "export" / "SE2" / "1-1.dcm")
    save_index(tmp_path / "DICOMDIR")
    bare = seg(tmp_path / "IM0001")
    assert structure_path(file) == structure_path(tmp_path / "export") == file
    assert structure_path(bare) == bare
    others = [scan, next(scan.iterdir()), tmp_path / "DICOMDIR", tmp_path / "nowhere"]
    assert [structure_path(other) for other in others] == [None] * 4
    save_contours(tmp_path / "export" / "rt.dcm", {"liver": [SQUARE]})
    with pytest.raises(ValueError, match=r"export holds 2 DICOM segmentations \(.*rt\.dcm.*; give the file of one"):
        structure_path(tmp_path / "export")


def test_names_are_those_of_the_file_each_once(tmp_path):
    masks = {"Liver": organs() == 1, "Portal vein": organs() == 2}
    assert structure_names(seg(tmp_path / "a.dcm", **masks)) == ["Liver", "Portal vein"]
    assert structure_names(save_contours(tmp_path / "rt.dcm", {"GTV": [SQUARE]})) == ["GTV"]


def test_values_follow_the_names_of_the_list_not_the_numbers_of_the_file(tmp_path, scan):
    read = read_structures(seg(tmp_path / "a.dcm"), scan, {0: "background", 1: "Spleen", 2: "LIVER"})
    assert np.array_equal(read.voxels, np.array([0, 2, 1])[organs()])


@pytest.mark.parametrize("name", ["a.dcm", "rt.dcm"])
def test_a_missing_name_is_an_error_that_lists_what_is_there(tmp_path, scan, name):
    seg(tmp_path / "a.dcm")
    save_contours(tmp_path / "rt.dcm", {"liver": [SQUARE], "spleen": []})
    with pytest.raises(ValueError, match=rf"{name} has no structure 'kidney'; it has liver, spleen\. Name them"):
        read_structures(tmp_path / name, scan, {1: "liver", 2: "kidney"})


def test_a_structure_without_voxels_is_absent(tmp_path, scan):
    file = save_contours(tmp_path / "rt.dcm", {"liver": [SQUARE], "spleen": []})
    assert np.unique(read_structures(file, scan, {1: "spleen", 2: "liver"}).voxels).tolist() == [0, 2]


def test_structures_that_the_list_does_not_name_are_left_aside_and_said(tmp_path, scan):
    file = save_contours(tmp_path / "rt.dcm", {"BODY": [SQUARE], "liver": [SQUARE], "Couch": []})
    read = read_structures(file, scan, {1: "liver"})
    assert read.notes == ("its structures BODY, Couch are not among the labels and are left aside",)
    assert np.unique(read.voxels).tolist() == [0, 1]


def test_of_two_that_overlap_the_higher_value_wins_and_is_said(tmp_path, scan):
    both = np.zeros(SHAPE, bool)
    both[3:6, 3:6, 2:4] = True
    file = seg(tmp_path / "a.dcm", tumour=both, liver=organs() == 1)
    read = read_structures(file, scan, {1: "liver", 2: "tumour"})
    assert (read.voxels == 2).sum() == 18 and (read.voxels == 1).sum() == 9
    assert read.notes == ("'liver' and 'tumour' share 18 voxels, which become 'tumour'",)


def test_a_segmentation_of_another_series_is_refused(tmp_path, scan):
    masks = {"liver": organs() == 1}
    of_series = save_seg(tmp_path / "a.dcm", masks, AFFINE, series="9.8.7")
    with pytest.raises(ValueError, match=r"a\.dcm belongs to the series 9\.8\.7, but .*ct is 1\.2\.3"):
        read_structures(of_series, scan, {1: "liver"})
    of_frame = save_contours(tmp_path / "rt.dcm", {"liver": [SQUARE]}, frame="9.8.7")
    with pytest.raises(ValueError, match=r"rt\.dcm has the frame of reference 9\.8\.7, but .*ct has 1\.2\.3\.99"):
        read_structures(of_frame, scan, {1: "liver"})


def test_a_scan_without_such_numbers_decides_by_its_grid(tmp_path):
    file = save_seg(tmp_path / "a.dcm", {"liver": organs() == 1}, AFFINE, series="9.8.7")
    volume = save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    assert np.array_equal(read_structures(file, volume, {1: "liver"}).voxels == 1, organs() == 1)


def test_a_damaged_file_is_named(tmp_path, scan):
    file = seg(tmp_path / "a.dcm")
    cut(file)
    with pytest.raises(ValueError, match=r"a\.dcm"):
        read_structures(file, scan, {1: "liver"})


def test_names_of_labels_may_hold_any_sign():
    assert names_as_text({1: 'a, "b"=c'}) == '{"1": "a, \\"b\\"=c"}'
