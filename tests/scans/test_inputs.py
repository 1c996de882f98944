import pytest

from medssl.scans.dicom import dicom_series
from medssl.scans.inputs import input_cases
from tests.scans.dicom_writer import save_index, save_slices
from tests.scans.files import AFFINE, hounsfield


def test_a_file_is_one_scan(tmp_path):
    (tmp_path / "case.7.nii.gz").touch()
    assert input_cases(tmp_path / "case.7.nii.gz") == [{"case": "case.7", "image": str(tmp_path / "case.7.nii.gz")}]


def test_a_folder_of_volumes_is_one_scan_a_file(tmp_path):
    for name in ("b.nrrd", "a.nii", "notes.txt", ".hidden.nii"):
        (tmp_path / name).touch()
    assert [case["case"] for case in input_cases(tmp_path)] == ["a", "b"]


def test_a_folder_of_slices_is_one_scan(tmp_path):
    save_slices(tmp_path, hounsfield(), AFFINE)
    assert input_cases(tmp_path) == [{"case": tmp_path.name, "image": str(tmp_path)}]


def test_a_folder_of_dicom_folders_is_one_scan_each_beside_their_index(tmp_path):
    for patient in ("1.2.840.1", "1.2.840.2"):
        save_slices(tmp_path / patient / "SE1", hounsfield(), AFFINE)
    save_slices(tmp_path / "1.2.840.2" / "SE2", hounsfield(), AFFINE, uid="1.2.4", keep=range(3))
    save_index(tmp_path / "DICOMDIR")
    cases = input_cases(tmp_path)
    assert [case["case"] for case in cases] == ["1.2.840.1", "1.2.840.2"]
    assert [case["image"] for case in cases] == [str(tmp_path / "1.2.840.1"), str(tmp_path / "1.2.840.2" / "SE1")]


def test_of_several_series_the_one_that_is_asked_for_is_taken(tmp_path):
    save_slices(tmp_path / "SE1", hounsfield(), AFFINE)
    save_slices(tmp_path / "SE2", hounsfield(), AFFINE, uid="1.2.4", keep=range(3))
    assert input_cases(tmp_path / "SE1", "1.2.3")[0]["case"] == "SE1"
    (tmp_path / "SE1").rename(tmp_path / "study")
    (tmp_path / "SE2").rename(tmp_path / "study" / "SE2")
    (case,) = input_cases(tmp_path, "1.2.4")
    assert case["case"] == "study"
    assert len(dicom_series(case["image"]).slices) == 3
    with pytest.raises(ValueError, match="has no series 'lung'"):
        input_cases(tmp_path, "lung")


def test_two_files_with_one_output_are_an_error(tmp_path):
    for name in ("a.nii.gz", "a.nrrd", "b.1.nii.gz", "b.2.nii.gz"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"a\.nii\.gz and .*a\.nrrd would have one output, a; rename"):
        input_cases(tmp_path)
    (tmp_path / "a.nrrd").unlink()
    assert [case["case"] for case in input_cases(tmp_path)] == ["a", "b.1", "b.2"]


def test_a_missing_scan_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no scan at .*nowhere"):
        input_cases(tmp_path / "nowhere")


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no scan"):
        input_cases(tmp_path)


def test_no_path_is_an_error():
    with pytest.raises(FileNotFoundError, match="No scan is given"):
        input_cases("")


def test_every_picture_of_a_folder_is_a_case(tmp_path):
    for name in ("b.PNG", "a.tif", "notes.txt"):
        (tmp_path / name).touch()
    assert [case["case"] for case in input_cases(tmp_path)] == ["a", "b"]
