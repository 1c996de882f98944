import pytest

from medssl.scans.inputs import input_cases


def test_a_file_is_one_scan(tmp_path):
    (tmp_path / "case.7.nii.gz").touch()
    assert input_cases(tmp_path / "case.7.nii.gz") == [{"case": "case.7", "image": str(tmp_path / "case.7.nii.gz")}]


def test_a_folder_of_volumes_is_one_scan_a_file(tmp_path):
    for name in ("b.nrrd", "a.nii", "notes.txt", ".hidden.nii"):
        (tmp_path / name).touch()
    assert [case["case"] for case in input_cases(tmp_path)] == ["a", "b"]


def test_a_folder_of_slices_is_one_scan(tmp_path):
    for name in ("IM0001", "IM0002.dcm"):
        (tmp_path / name).touch()
    assert input_cases(tmp_path) == [{"case": tmp_path.name, "image": str(tmp_path)}]


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
