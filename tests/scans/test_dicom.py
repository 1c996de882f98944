"""One series: its slices in order, and whether any is missing."""

import numpy as np
import pytest

from medssl.scans.dicom import damaged_slice, dicom_series
from medssl.scans.headers import read_header
from tests.scans.dicom_writer import save_slices
from tests.scans.files import AFFINE, affine_with, hounsfield, save_series


def test_files_are_in_the_order_of_their_positions(tmp_path):
    series = dicom_series(save_series(tmp_path / "ct", hounsfield()))
    assert np.allclose(series.gaps, 2.5) and series.files[0].endswith("99.dcm")
    assert np.allclose(series.affine, AFFINE, atol=1e-4) and series.shape == hounsfield().shape


def test_a_missing_slice_is_found_between_its_neighbours(tmp_path):
    with pytest.raises(ValueError, match=r"5\.00 mm between .*96\.dcm and .*94\.dcm, but 2\.50 mm elsewhere"):
        dicom_series(save_series(tmp_path / "ct", hounsfield(), skip={4}))


def test_a_cut_slice_is_found(tmp_path):
    folder = save_series(tmp_path / "ct", hounsfield())
    last = folder / "1.2.3_92.dcm"
    last.write_bytes(last.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"92\.dcm is a damaged DICOM file"):
        dicom_series(folder)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no DICOM series"):
        dicom_series(tmp_path)


def test_slices_at_one_position_are_an_error(tmp_path):
    affine = AFFINE.copy()
    affine[:3, 2] *= 1e-3
    with pytest.raises(ValueError, match="several slices at one position"):
        dicom_series(save_series(tmp_path / "ct", hounsfield(), affine))


def test_every_second_slice_missing_is_a_warning_with_both_numbers(tmp_path):
    folder = save_slices(tmp_path / "ct", hounsfield(), AFFINE, keep=range(0, 8, 2))
    (note,) = read_header(folder).notes
    assert "its slices are 2.5 mm thick but 5 mm apart" in note


def test_overlapping_slices_are_no_fault(tmp_path):
    def thicker(data, _):
        data.SliceThickness = 5

    assert dicom_series(save_slices(tmp_path / "ct", hounsfield(), AFFINE, edit=thicker)).notes == ()


def test_slices_of_another_orientation_are_an_error(tmp_path):
    def turn(data, index):
        if index == 4:
            data.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]

    with pytest.raises(ValueError, match=r"1\.2\.3_95 differs in size or orientation"):
        dicom_series(save_slices(tmp_path / "ct", hounsfield(), AFFINE, edit=turn))


def test_slices_of_another_size_are_an_error(tmp_path):
    save_slices(tmp_path / "ct", hounsfield(), AFFINE, keep=range(7))
    save_slices(tmp_path / "ct", hounsfield()[:-2], AFFINE, keep=[7])
    with pytest.raises(ValueError, match=r"1\.2\.3_9\d differs in size"):
        dicom_series(tmp_path / "ct")


def test_slices_without_a_position_are_an_error_with_advice(tmp_path):
    def forget(data, index):
        del data.ImagePositionPatient

    with pytest.raises(ValueError, match="has no position or orientation of its slices; export it as"):
        dicom_series(save_slices(tmp_path / "ct", hounsfield(), AFFINE, edit=forget))


def test_a_position_that_is_no_point_names_its_file(tmp_path):
    def spoil(data, index):
        data.ImagePositionPatient = [0.0, 1.0]

    with pytest.raises(ValueError, match=r"1\.2\.3_\d+ (has|is) a damaged DICOM"):
        dicom_series(save_slices(tmp_path / "ct", hounsfield(), AFFINE, edit=spoil))


def test_a_single_slice_has_no_gaps(tmp_path):
    series = dicom_series(save_series(tmp_path / "ct", hounsfield()[:, :, :1]))
    assert series.gaps.size == 0 and series.shape == (12, 10, 1)


def test_every_slice_of_a_sound_series_can_be_decoded(tmp_path):
    assert damaged_slice(dicom_series(save_series(tmp_path / "ct", hounsfield())).files) is None


def test_a_tilted_gantry_needs_a_wider_straight_grid(tmp_path):
    series = dicom_series(save_series(tmp_path / "ct", hounsfield(), affine_with(a12=0.5)))
    # Seven steps of 0.5 mm are 2.8 voxels.
    assert series.shape == (12, 13, 8) and np.allclose(series.spacing, [1.5, 1.25, 2.5])
    assert any("drift sideways by 3.5 mm" in note for note in series.notes)


@pytest.mark.parametrize("move", [lambda index: 3.0 * (index == 4), lambda index: 1e5 * index])
def test_slices_beside_the_line_are_an_error_and_no_wide_grid(tmp_path, move):
    def shift(data, index):
        data.ImagePositionPatient = [data.ImagePositionPatient[0] + move(index), *data.ImagePositionPatient[1:]]

    with pytest.raises(ValueError, match="do not lie on a line"):
        dicom_series(save_slices(tmp_path / "ct", hounsfield(), AFFINE, edit=shift))
