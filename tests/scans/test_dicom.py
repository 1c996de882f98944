import numpy as np
import pytest
import SimpleITK as sitk

from medssl.scans.dicom import damaged_slice, require_one_series, series_files, slice_geometry
from tests.scans.files import AFFINE, hounsfield, save_series


def test_files_are_in_the_order_of_their_positions(tmp_path):
    files = series_files(save_series(tmp_path / "ct", hounsfield()))
    assert np.allclose(slice_geometry(files).gaps, 2.5)


def test_a_missing_slice_is_found_between_its_neighbours(tmp_path):
    with pytest.raises(ValueError, match=r"5\.00 mm between .*96\.dcm and .*94\.dcm, but 2\.50 mm elsewhere"):
        require_one_series(save_series(tmp_path / "ct", hounsfield(), skip={4}))


def test_a_cut_slice_that_drops_out_of_the_series_is_found(tmp_path):
    folder = save_series(tmp_path / "ct", hounsfield())
    last = folder / "1.2.3_92.dcm"
    last.write_bytes(last.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"92\.dcm is damaged or belongs to another DICOM series"):
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


def change_tags(folder, name, **tags):
    """Write a slice again with other tags; ``t0020_0032`` is tag (0020,0032)."""
    file = str(folder / name)
    image = sitk.ReadImage(file)
    for tag, value in tags.items():
        image.SetMetaData(tag[1:].replace("_", "|"), value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(file)
    writer.Execute(image)


def test_slices_of_another_orientation_are_an_error(tmp_path):
    folder = save_series(tmp_path / "ct", hounsfield())
    change_tags(folder, "1.2.3_95.dcm", t0020_0037="0\\1\\0\\1\\0\\0")
    with pytest.raises(ValueError, match="differs in size or orientation"):
        slice_geometry(sorted(map(str, folder.iterdir())))


def test_slices_of_another_size_are_an_error(tmp_path):
    folder = save_series(tmp_path / "ct", hounsfield())
    save_series(tmp_path / "small", hounsfield()[:-2])
    files = [str(tmp_path / name / "1.2.3_95.dcm") for name in ("ct", "small")]
    assert folder.exists()
    with pytest.raises(ValueError, match=r"small.* differs in size"):
        slice_geometry(files)


def test_a_file_that_is_no_slice_is_named(tmp_path):
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(ValueError, match=r"a\.dcm is not a readable DICOM slice"):
        slice_geometry([str(tmp_path / "a.dcm")])


def test_a_single_slice_has_no_gaps(tmp_path):
    folder = save_series(tmp_path / "ct", hounsfield()[:, :, :1])
    require_one_series(folder)
    assert slice_geometry(series_files(folder)).gaps.size == 0


def test_every_slice_of_a_sound_series_can_be_decoded(tmp_path):
    assert damaged_slice(series_files(save_series(tmp_path / "ct", hounsfield()))) is None


def test_an_index_of_the_disc_is_no_slice(tmp_path):
    folder = save_series(tmp_path / "ct", hounsfield())
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    require_one_series(folder)
