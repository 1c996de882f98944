import numpy as np
import pytest

from medssl.data.dicom import require_one_series, series_files, slice_geometry
from tests.data.scans import AFFINE, hounsfield, save_series


def test_files_are_in_the_order_of_their_positions(tmp_path):
    files = series_files(save_series(tmp_path / "ct", hounsfield()))
    assert np.allclose(slice_geometry(files).gaps, 2.5)


def test_a_missing_slice_is_found_between_its_neighbours(tmp_path):
    with pytest.raises(ValueError, match=r"5\.00 mm between .*96\.dcm and .*94\.dcm, 2\.50 mm elsewhere"):
        require_one_series(save_series(tmp_path / "ct", hounsfield(), skip={4}))


def test_a_cut_slice_that_drops_out_of_the_series_is_found(tmp_path):
    folder = save_series(tmp_path / "ct", hounsfield())
    last = folder / "1.2.3_92.dcm"
    last.write_bytes(last.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"92\.dcm is damaged or not of the same DICOM series"):
        require_one_series(folder)


def test_two_series_in_a_folder_are_an_error_that_counts_them(tmp_path):
    save_series(tmp_path / "ct", hounsfield())
    save_series(tmp_path / "ct", hounsfield(), uid="1.2.4")
    with pytest.raises(ValueError, match=r"2 DICOM series.*1\.2\.3 \(8 files\), 1\.2\.4 \(8 files\)"):
        series_files(tmp_path / "ct")


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no DICOM series"):
        series_files(tmp_path)


def test_slices_at_one_position_are_an_error(tmp_path):
    affine = AFFINE.copy()
    affine[:3, 2] *= 1e-3
    with pytest.raises(ValueError, match="several slices at one position"):
        require_one_series(save_series(tmp_path / "ct", hounsfield(), affine))


def test_other_files_beside_the_slices_are_no_fault(tmp_path):
    folder = save_series(tmp_path / "ct", hounsfield())
    (folder / "notes.txt").write_text("seen")
    require_one_series(folder)


def test_a_tilted_gantry_drifts(tmp_path):
    affine = AFFINE.copy()
    affine[1, 2] = 0.5
    files = series_files(save_series(tmp_path / "ct", hounsfield(), affine))
    assert slice_geometry(files).drift == pytest.approx(7 * 0.5)
