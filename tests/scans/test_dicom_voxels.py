"""The voxels of a series lie where they were, with the values that they had."""

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from scipy import ndimage

from medssl.scans.headers import read_header
from medssl.scans.loading import VerifiedLoadImage
from medssl.scans.readers import read_volume
from tests.scans.dicom_writer import save_enhanced, save_slices
from tests.scans.files import AFFINE, affine_with, hounsfield, save_series

# A gantry tilted to the front, one turned to the side, and both.
TILTS = [{"a12": 0.6}, {"a02": -0.8}, {"a12": 1.4, "a02": 0.3}]


def loaded(path):
    """Return voxels and affine, once the header is known to say the same."""
    volume, header = VerifiedLoadImage()(path), read_header(path)
    assert tuple(volume.shape) == header.shape
    assert np.allclose(volume.affine, header.affine, atol=1e-4)
    return volume.numpy(), volume.affine.numpy()


def test_slopes_that_differ_from_slice_to_slice_are_exact(tmp_path):
    slopes = [1, 2, 0.5, 0.37, 1, 0.1, 0.25, 1.7]
    stored = np.round((hounsfield() + 1024) / slopes)
    folder = save_slices(tmp_path / "ct", hounsfield(), AFFINE, slopes)
    voxels, _ = loaded(folder)
    assert np.array_equal(voxels, (stored * slopes - 1024).astype(np.float32))
    assert np.array_equal(read_volume(folder), voxels)


@pytest.mark.parametrize("tilt", TILTS)
def test_the_spots_of_a_phantom_stay_where_they_were(tmp_path, tilt):
    affine, hu = affine_with(**tilt), np.full((40, 36, 12), -1000, np.int16)
    spots = [(8, 9, 1), (30, 8, 4), (12, 27, 7), (28, 25, 10)]
    for x, y, z in spots:
        hu[x - 1 : x + 2, y - 1 : y + 2, z] = 1000
    voxels, straight = loaded(save_slices(tmp_path / "ct", hu, affine))
    assert abs(straight[:3, 0] @ straight[:3, 2]) + abs(straight[:3, 1] @ straight[:3, 2]) < 1e-6
    found = ndimage.center_of_mass(voxels + 1000, *ndimage.label(voxels > -999)[:1], index=[1, 2, 3, 4])
    there = sorted((straight @ [*place, 1])[:3].tolist() for place in found)
    expected = sorted((affine @ [*place, 1])[:3].tolist() for place in spots)
    distance = (np.array(there) - expected) / [1.5, 1.25, 2.5]
    assert np.abs(distance).max() < 0.1


def test_what_lies_outside_a_tilted_slice_is_air(tmp_path):
    voxels, _ = loaded(save_series(tmp_path / "ct", hounsfield(), affine_with(a12=1.25)))
    assert voxels.shape == (12, 17, 8) and voxels.min() == -1000
    # The shift is a whole voxel a slice here, so nothing is interpolated.
    assert sorted(voxels[voxels > -1000]) == sorted(hounsfield()[hounsfield() > -1000])


@pytest.mark.parametrize("order", [None, range(7, -1, -1), [3, 1, 0, 2, 7, 5, 6, 4]])
@pytest.mark.parametrize("folder", [False, True])
def test_an_enhanced_file_is_read_whatever_the_order_of_its_frames(tmp_path, order, folder):
    path = save_enhanced(tmp_path / "ct" / "enhanced.dcm", hounsfield(), AFFINE, order)
    voxels, affine = loaded(path.parent if folder else path)
    assert np.array_equal(voxels, hounsfield()) and np.allclose(affine, AFFINE, atol=1e-4)


def test_slopes_that_differ_from_frame_to_frame_are_exact(tmp_path):
    slopes = [2.0, 1.0, 0.5, 4.0, 1.0, 0.25, 1.0, 1.0]
    hu = hounsfield() // 4 * 4
    path = save_enhanced(tmp_path / "enhanced.dcm", hu, AFFINE, [3, 1, 0, 2, 7, 5, 6, 4], slopes)
    assert np.array_equal(loaded(path)[0], hu)


def test_a_lost_frame_is_an_error(tmp_path):
    path = save_enhanced(tmp_path / "enhanced.dcm", hounsfield(), AFFINE, [0, 1, 2, 4, 5, 6, 7])
    with pytest.raises(ValueError, match=r"lacks slices .* between enhanced\.dcm frame 3 and enhanced\.dcm frame 4"):
        VerifiedLoadImage()(path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, DeflatedExplicitVRLittleEndian])
def test_compressed_slices_are_read(tmp_path, syntax):
    def compress(data, _):
        if syntax == DeflatedExplicitVRLittleEndian:
            data.file_meta.TransferSyntaxUID = syntax
        elif syntax == RLELossless:
            data.compress(syntax, generate_instance_uid=False)

    if syntax == JPEG2000Lossless:
        folder = save_series(tmp_path / "ct", hounsfield(), is_compressed=True)
    else:
        folder = save_slices(tmp_path / "ct", hounsfield(), AFFINE, edit=compress)
    assert np.array_equal(loaded(folder)[0], hounsfield())


def test_a_slice_whose_pixels_are_cut_is_named(tmp_path):
    folder = save_slices(tmp_path / "ct", hounsfield(), AFFINE)
    cut = folder / "1.2.3_95"
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"1\.2\.3_95 is a damaged DICOM file .*promises 240 bytes, and 220 are left"):
        VerifiedLoadImage()(folder)
