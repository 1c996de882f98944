import nibabel as nib
import numpy as np
import pytest

from medssl.scans.clicked import clicked_voxels
from tests.bundles.test_inference import SHAPE, oblique_affine, write_scan


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("clicked") / "scan.nii.gz"
    write_scan(path)
    return path


def place(*voxel):
    return tuple(nib.affines.apply_affine(oblique_affine(), voxel).tolist())


def test_points_of_an_oblique_scan_are_the_nearest_voxels(scan):
    inside, outside = clicked_voxels(scan, [place(1, 2, 3), place(59, 69, 23)], [place(4.2, 5.4, 5.6)])
    np.testing.assert_array_equal(inside, [[1, 2, 3], [59, 69, 23]])
    np.testing.assert_array_equal(outside, [[4, 5, 6]])


def test_no_point_outside_is_an_empty_side(scan):
    assert clicked_voxels(scan, [place(0, 0, 0)], [])[1].shape == (0, 3)


def test_no_point_inside_is_refused(scan):
    with pytest.raises(ValueError, match="No point inside the structure"):
        clicked_voxels(scan, [], [place(0, 0, 0)])


@pytest.mark.parametrize("voxel", [(-1, 0, 0), (0, 0, SHAPE[2])])
@pytest.mark.parametrize("side", [0, 1])
def test_a_point_beyond_the_scan_is_named_with_what_the_scan_reaches(scan, voxel, side):
    sides = [[place(5, 5, 5)], []]
    sides[side].append(place(*voxel))
    with pytest.raises(ValueError, match=r"The point \(.*\) is not in .*scan\.nii\.gz, which reaches from"):
        clicked_voxels(scan, *sides)


def test_a_voxel_clicked_on_both_sides_is_refused(scan):
    with pytest.raises(ValueError, match="as inside and as outside the structure"):
        clicked_voxels(scan, [place(7, 7, 7), place(9, 9, 9)], [place(9.2, 9, 8.8)])
