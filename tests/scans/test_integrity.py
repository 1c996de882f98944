"""Damaged files are found, and what is whole is read once."""

import nibabel as nib
import numpy as np
import pytest
from isal import igzip

from medssl.scans import streams
from medssl.scans.integrity import read_whole, verified_header
from tests.scans.files import SHAPE, assert_judged, cut, flip_bits, hounsfield, save_itk, save_nifti

NO_FORMS = {"sform_code": 0, "qform_code": 0}


def break_crc(path):
    flip_bits(path, -8, 1)


def change_a_byte(path):
    flip_bits(path, path.stat().st_size // 2, 64)


def make_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("name", "spoil", "expected", "reason"),
    [
        ("scan.nii.gz", cut, "error", "end-of-stream"),
        ("scan.nii", cut, "error", "bytes its header promises"),
        ("scan.nrrd", cut, "error", "damaged"),
        ("scan.mha", cut, "error", "damaged"),
        ("scan.nii.gz", break_crc, "error", "CRC"),
        ("scan.nii.gz", change_a_byte, "error", "damaged"),
        # No checksum covers the voxels of an uncompressed file.
        ("scan.nii", change_a_byte, "accept", ""),
        ("scan.nii.gz", lambda path: path.write_bytes(b""), "error", "empty"),
        ("scan.nii.gz", lambda path: path.write_text("<html>404</html>"), "error", "web page"),
        ("scan.nii.gz", lambda path: path.unlink(), "error", "does not exist"),
        ("scan.nii.gz", make_folder, "error", "no DICOM series"),
    ],
)
def test_a_spoilt_file_is_judged(tmp_path, name, spoil, expected, reason):
    save = save_nifti if ".nii" in name else save_itk
    spoil(save(tmp_path / name, hounsfield()))
    assert_judged(read_whole(tmp_path / name).problems, expected, reason)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii", "scan.nrrd", "scan.mha"])
def test_a_sound_file_has_no_problem(tmp_path, name):
    save = save_nifti if ".nii" in name else save_itk
    assert read_whole(save(tmp_path / name, hounsfield())).problems == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"dim": [3, 12, 0, 8, 1, 1, 1, 1]}, "3 axes of"),
        ({"dim": [3, 12, -10, 8, 1, 1, 1, 1]}, "3 axes of"),
        ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "bytes its header promises"),
    ],
)
def test_a_header_that_the_stream_contradicts_is_an_error(tmp_path, fields, reason):
    assert_judged(read_whole(save_nifti(tmp_path / "scan.nii.gz", hounsfield(), **fields)).problems, "error", reason)


def test_a_4d_file_of_one_volume_is_that_volume(tmp_path):
    found = read_whole(save_nifti(tmp_path / "scan.nii.gz", hounsfield()[..., None]))
    assert found.problems == [] and np.array_equal(found.voxels, hounsfield())


def test_an_odd_header_is_a_warning_and_the_voxels_are_read(tmp_path):
    found = read_whole(save_nifti(tmp_path / "scan.nii", hounsfield(), **NO_FORMS))
    assert [problem.severity for problem in found.problems] == ["warning"]
    assert np.array_equal(found.voxels, hounsfield())


def test_a_verified_header_tells_shape_and_spacing(tmp_path):
    header = verified_header(save_nifti(tmp_path / "a.nii.gz", hounsfield()))
    assert header.shape == SHAPE and np.allclose(header.spacing, [1.5, 1.25, 2.5])


def test_a_header_with_an_error_is_not_verified(tmp_path):
    with pytest.raises(ValueError, match=r"a\.nii cannot be used: its affine is singular"):
        verified_header(save_nifti(tmp_path / "a.nii", hounsfield(), np.diag([0.0, 0, 0, 1])))


def test_a_plane_that_is_not_x_and_y_is_an_error(tmp_path):
    sagittal = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(hounsfield()[:, :, 4], sagittal), tmp_path / "a.nii.gz")
    with pytest.raises(ValueError, match=r"a\.nii\.gz cannot be used: its affine is singular"):
        verified_header(tmp_path / "a.nii.gz", 2)


def test_a_compressed_nifti_file_is_inflated_once(tmp_path, monkeypatch):
    path = save_nifti(tmp_path / "scan.nii.gz", hounsfield(), scl_slope=2, scl_inter=-5)
    inflated = []

    class Counting(igzip.IGzipFile):
        def readinto(self, buffer):
            inflated.append(super().readinto(buffer))
            return inflated[-1]

    def refuse(*_, **__):
        raise AssertionError("nibabel reads the voxels too")

    monkeypatch.setattr(streams.igzip, "IGzipFile", Counting)
    monkeypatch.setattr(nib.arrayproxy.ArrayProxy, "__array__", refuse)
    assert np.array_equal(read_whole(path).voxels, hounsfield() * 2.0 - 5)
    assert 0.9 * hounsfield().nbytes < sum(inflated) < 1.5 * hounsfield().nbytes
