"""The voxels of a DICOM SEG land where they were drawn, whatever the order, type and direction of its frames."""

import numpy as np
import pydicom
import pytest

from medssl.scans.structure_labels import read_structures
from tests.scans.dicom_writer import save_enhanced, save_slices
from tests.scans.files import AFFINE, SHAPE, affine_with, hounsfield, organs, save_nifti
from tests.scans.structure_writer import save_seg

NAMES = {0: "background", 1: "liver", 2: "spleen"}
TURNED = AFFINE @ np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
OBLIQUE = AFFINE.copy()
OBLIQUE[:3, :3] = np.array([[0.8, -0.6, 0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]]) * [1.5, 1.5, 2.5]


def masks(label=None):
    label = organs() if label is None else label
    return {"liver": label == 1, "spleen": label == 2}


def test_segments_land_on_the_series_they_were_drawn_on(tmp_path):
    scan = save_slices(tmp_path / "ct", hounsfield(), AFFINE)
    read = read_structures(save_seg(tmp_path / "a.dcm", masks(), AFFINE), scan, NAMES)
    assert np.array_equal(read.voxels, organs()) and read.notes == ()
    assert np.allclose(read.header.affine, AFFINE)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("turn", [1, -1])
def test_every_type_of_segmentation_is_read_in_any_order_of_frames(tmp_path, kind, turn):
    scan = save_slices(tmp_path / "ct", hounsfield(), AFFINE)
    file = save_seg(tmp_path / "a.dcm", masks(), AFFINE, kind, turn=turn)
    assert np.array_equal(read_structures(file, scan, NAMES).voxels, organs())


def test_fractions_count_from_one_half(tmp_path):
    scan = save_slices(tmp_path / "ct", hounsfield(), AFFINE)
    fractions = np.linspace(0, 1, 960).reshape(SHAPE)
    file = save_seg(tmp_path / "a.dcm", {"liver": fractions}, AFFINE, "FRACTIONAL")
    # In steps of 1/200, as the file keeps them.
    expected = np.round(fractions * 200) >= 100
    assert np.array_equal(read_structures(file, scan, {1: "liver"}).voxels == 1, expected)


@pytest.mark.parametrize("affine", [AFFINE, OBLIQUE, affine_with(a00=-1.5), affine_with(a22=-2.5)])
def test_a_volume_made_of_the_series_in_other_directions_gets_the_same_places(tmp_path, affine):
    file = save_seg(tmp_path / "a.dcm", masks(), affine)
    turned = affine @ np.array([[0, -1, 0, SHAPE[0] - 1], [1, 0, 0, 0], [0, 0, -1, SHAPE[2] - 1], [0, 0, 0, 1.0]])
    # x of the new grid is y of the old one, and y of the new one counts x backwards; z is backwards too.
    voxels = hounsfield().transpose(1, 0, 2)[:, ::-1, ::-1]
    scan = save_nifti(tmp_path / "scan.nii.gz", np.ascontiguousarray(voxels), turned)
    expected = organs().transpose(1, 0, 2)[:, ::-1, ::-1]
    assert np.array_equal(read_structures(file, scan, NAMES).voxels, expected)


@pytest.mark.parametrize("tilt", [{"a12": 0.6}, {"a02": -0.8}, {"a12": 1.4, "a02": 0.3}])
def test_segments_on_tilted_slices_move_with_them_to_the_straight_grid(tmp_path, tilt):
    affine, label = affine_with(**tilt), np.zeros(SHAPE, np.uint8)
    label[4:7, 4:7, :] = 1
    scan = save_slices(tmp_path / "ct", hounsfield(), affine)
    read = read_structures(save_seg(tmp_path / "a.dcm", {"liver": label == 1}, affine), scan, {1: "liver"})
    for index in range(SHAPE[2]):
        drawn = affine @ [5, 5, index, 1]
        found = read.header.affine @ [*np.argwhere(read.voxels[..., index]).mean(axis=0), index, 1]
        assert (np.abs(found - drawn)[:3] <= np.array([0.75, 0.625, 1e-3]) + 1e-6).all()


def test_segments_of_an_enhanced_file_are_read(tmp_path):
    scan = save_enhanced(tmp_path / "ct" / "enhanced.dcm", hounsfield(), AFFINE, [3, 1, 0, 2, 7, 5, 6, 4])
    assert np.array_equal(read_structures(save_seg(tmp_path / "a.dcm", masks(), AFFINE), scan, NAMES).voxels, organs())


def test_a_segmentation_of_a_part_of_the_slices_is_placed(tmp_path):
    scan = save_slices(tmp_path / "ct", hounsfield(), AFFINE)
    part = affine_with(a03=AFFINE[0, 3] + 2 * 1.5, a13=AFFINE[1, 3] + 1.25)
    file = save_seg(tmp_path / "a.dcm", masks(organs()[2:10, 1:]), part)
    assert np.array_equal(read_structures(file, scan, NAMES).voxels, organs())


@pytest.mark.parametrize(
    ("affine", "text"),
    [
        (affine_with(a03=AFFINE[0, 3] + 0.6), "lie up to 0.40 voxels beside"),
        (affine_with(a23=AFFINE[2, 3] + 1.0), "lie up to 0.40 voxels beside"),
        (affine_with(a00=1.6), "another size or direction"),
        (TURNED, "another size or direction"),
        (affine_with(a23=AFFINE[2, 3] + 50.0), "reaches beyond the scan"),
    ],
)
def test_a_segmentation_on_another_grid_is_an_error(tmp_path, affine, text):
    scan = save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    with pytest.raises(ValueError, match=rf"a\.dcm cannot be used with .*scan\.nii\.gz: .*{text}"):
        read_structures(save_seg(tmp_path / "a.dcm", masks(), affine), scan, NAMES)


def test_a_number_of_frames_that_the_file_cannot_hold_is_an_error(tmp_path):
    scan = save_slices(tmp_path / "ct", hounsfield(), AFFINE)
    file = save_seg(tmp_path / "a.dcm", masks(), AFFINE)
    data = pydicom.dcmread(file)
    data.NumberOfFrames = 10**9
    data.save_as(file)
    with pytest.raises(ValueError, match=r"a\.dcm cannot be used with .*1000000000 frames"):
        read_structures(file, scan, NAMES)
