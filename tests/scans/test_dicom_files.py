"""What lies below a folder: series, and what is left aside."""

import logging
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medssl.scans.dicom import dicom_series
from medssl.scans.dicom_files import find_series
from medssl.scans.readers import read_volume
from tests.scans.dicom_writer import save_enhanced, save_index, save_other, save_slices
from tests.scans.files import AFFINE, hounsfield


def localizer(data, _):
    data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


@pytest.fixture
def export(tmp_path):
    """As an archive writes it: an index, reports and scouts beside two series in folders of their own."""
    save_index(tmp_path / "DICOMDIR")
    save_slices(tmp_path / "DICOM" / "ST0" / "SE1", hounsfield(), AFFINE, uid="1.2.3")
    save_slices(tmp_path / "DICOM" / "ST0" / "SE2", hounsfield(), AFFINE, uid="1.2.4", keep=range(3))
    save_slices(tmp_path / "DICOM" / "ST0" / "SE1", hounsfield(), AFFINE, uid="1.2.5", keep=[0, 1], edit=localizer)
    save_other(tmp_path / "DICOM" / "ST0" / "report", "SR")
    (tmp_path / "DICOM" / "notes.txt").write_text("seen")
    return tmp_path


def test_series_are_found_below_a_folder_most_slices_first(export):
    found, aside = find_series(export)
    assert [(series.uid, len(series.slices)) for series in found] == [("1.2.3", 8), ("1.2.4", 3)]
    assert sorted(aside) == ["1 file of modality SR", "1 index of the disc", "2 scouts"]


def test_the_series_with_most_slices_is_used_and_named(export, caplog):
    with caplog.at_level(logging.WARNING):
        series = dicom_series(export)
    assert len(series.slices) == 8
    assert "holds 2 DICOM series, and series 1 (8 slices, 1.2.3) is used, not series 1 (3 slices, 1.2.4)" in caplog.text
    assert any("1 file of modality SR, 2 scouts, which are left aside" in note for note in series.notes)


def test_an_index_beside_the_slices_needs_no_note(tmp_path):
    folder = save_slices(tmp_path / "ct", hounsfield(), AFFINE)
    save_index(folder / "DICOMDIR")
    save_index(folder / "DIRFILE")
    assert dicom_series(folder).notes == ()


def test_what_a_killed_writer_left_in_a_hidden_folder_is_no_slice(export):
    hidden = export / "results" / ".staging-k3v_9x2a"
    hidden.mkdir(parents=True)
    file = dicom_series(export).slices[0].file
    (hidden / Path(file).name).write_bytes(Path(file).read_bytes()[:500])
    assert len(dicom_series(export).slices) == 8


def test_scouts_alone_are_a_series(tmp_path):
    (series,), aside = find_series(save_slices(tmp_path / "ct", hounsfield(), AFFINE, edit=localizer))
    assert len(series.slices) == 8 and aside == []


def test_a_file_stands_for_its_series(export):
    file = export / "DICOM" / "ST0" / "SE1" / "1.2.3_95"
    assert len(dicom_series(file).slices) == 8 and dicom_series(file).notes == ()


def test_only_reports_are_an_error_that_says_so(tmp_path):
    save_other(tmp_path / "report", "SR")
    with pytest.raises(ValueError, match=r"holds no DICOM series \(but 1 file of modality SR\)"):
        dicom_series(tmp_path)


@pytest.mark.parametrize("tag", ["AcquisitionNumber", "TemporalPositionIdentifier", "EchoNumbers"])
def test_the_volumes_of_a_series_are_told_apart(tmp_path, tag):
    for number, count in ((1, 6), (2, 8)):

        def mark(data, index, number=number):
            setattr(data, tag, number)

        save_slices(tmp_path / str(number), hounsfield(), AFFINE, edit=mark, keep=range(count))
    series = dicom_series(tmp_path)
    assert len(series.slices) == 8 and len({one.file for one in series.slices}) == 8
    assert "its series holds 2 volumes" in series.notes[0]


def test_a_file_that_is_no_slice_is_named(tmp_path):
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(ValueError, match=r"a\.dcm is a damaged DICOM file"):
        find_series(tmp_path)


def test_slices_without_a_preamble_are_read(tmp_path):
    folder = save_slices(tmp_path / "ct", hounsfield(), AFFINE)
    for file in folder.iterdir():
        data = pydicom.dcmread(file)
        data.preamble, data.file_meta = None, pydicom.dataset.FileMetaDataset()
        pydicom.dcmwrite(file, data, implicit_vr=True, little_endian=True)
    assert np.array_equal(read_volume(folder), hounsfield())


@pytest.mark.parametrize("length", [0, 100])
def test_a_slice_cut_to_nothing_is_known_by_its_name(tmp_path, length):
    folder = save_slices(tmp_path / "ct", hounsfield(), AFFINE)
    last = folder / "1.2.3_92"
    last.write_bytes(last.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"1\.2\.3_92 is damaged"):
        find_series(folder)


def test_a_header_that_promises_more_than_its_file_holds_is_damage(tmp_path):
    def grow(data, _):
        data.Rows, data.NumberOfFrames = 60_000, 90_000_000

    with pytest.raises(ValueError, match=r"is a damaged DICOM file \(its header says 90000000 frames of 12 x 60000"):
        find_series(save_slices(tmp_path / "ct", hounsfield(), AFFINE, edit=grow))


def test_no_damage_of_a_header_is_a_traceback_or_unnamed(tmp_path):
    rng = np.random.default_rng(0)
    path = save_enhanced(tmp_path / "enhanced", hounsfield(), AFFINE)
    whole, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(whole)
        place = int(rng.integers(132, len(whole) - hounsfield().nbytes))
        damaged[place : place + int(rng.integers(1, 6))] = rng.bytes(int(rng.integers(0, 6)))
        path.write_bytes(damaged[: int(rng.choice([place, len(damaged), len(damaged)]))])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dicom_series(tmp_path)
        except ValueError as error:
            assert str(tmp_path) in str(error)
            refused += 1
    assert 100 < refused < 300
