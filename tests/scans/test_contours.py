"""Contours are filled as geometry says: a voxel is inside if its centre is."""

import numpy as np
import pytest

from medssl.scans.structure_labels import read_structures
from tests.scans.dicom_writer import save_slices
from tests.scans.files import AFFINE, affine_with, save_nifti
from tests.scans.structure_writer import circle, save_contours, to_lps

SHAPE = (40, 36, 20)
SPACING = np.array([1.5, 1.25, 2.5])
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = np.array([[0.8, -0.6, 0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]]) * SPACING
CENTRE = np.array([19.3, 17.4, 9.6])
LIVER = {1: "liver"}


def scan(folder, affine=AFFINE):
    hu = np.random.default_rng(0).integers(-100, 100, SHAPE).astype(np.int16)
    return save_slices(folder / "ct", hu, affine)


def distances(axes):
    """Return the distance in mm of every voxel from the centre, along some axes only."""
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    return np.sqrt((((index - CENTRE) * SPACING)[..., axes] ** 2).sum(axis=-1))


def filled(folder, contours, affine=AFFINE, labels=LIVER, **options):
    listed = {name: [to_lps(points, affine) for points in several] for name, several in contours.items()}
    return read_structures(save_contours(folder / "rt.dcm", listed, **options), scan(folder, affine), labels)


@pytest.mark.parametrize("affine", [AFFINE, OBLIQUE], ids=["straight", "oblique"])
def test_a_sphere_is_filled_to_the_voxel(tmp_path, affine):
    radius = 14.13
    heights = (np.arange(SHAPE[2]) - CENTRE[2]) * SPACING[2]
    circles = [
        circle(CENTRE, np.sqrt(radius**2 - height**2), place, SPACING)
        for place, height in enumerate(heights)
        if abs(height) < radius
    ]
    expected = distances([0, 1, 2]) <= radius
    # 400 corners of a circle and four digits of a coordinate decide on the very border.
    clear = np.abs(distances([0, 1, 2]) - radius) > 2e-3
    found = filled(tmp_path, {"liver": circles}, affine).voxels == 1
    assert np.array_equal(found[clear], expected[clear]) and (~clear).sum() < 10


def test_a_contour_inside_another_is_a_hole(tmp_path):
    outer, inner = 15.05, 7.33
    rings = [circle(CENTRE, radius, place, SPACING) for place in range(3, 9) for radius in (outer, inner)]
    ring = (distances([0, 1]) <= outer) & (distances([0, 1]) > inner)
    expected = np.zeros(SHAPE, bool)
    expected[..., 3:9] = ring[..., 3:9]
    assert np.array_equal(filled(tmp_path, {"liver": rings}).voxels == 1, expected)


def test_a_keyhole_leaves_its_hole_out(tmp_path):
    outer, inner = circle(CENTRE, 15.05, 5, SPACING), circle(CENTRE, 7.33, 5, SPACING)
    # One line from the outer circle to the inner one, round it the other way, and back on the same line.
    keyhole = np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
    expected = ((distances([0, 1]) <= 15.05) & (distances([0, 1]) > 7.33))[..., 5]
    assert np.array_equal(filled(tmp_path, {"liver": [keyhole]}).voxels[..., 5] == 1, expected)


def test_several_contours_of_a_slice_and_an_island_in_a_hole_are_parts(tmp_path):
    radii = (15.05, 9.31, 4.12)
    rings = [circle(CENTRE, radius, 5, SPACING) for radius in radii]
    apart = np.array([[1.6, 1.6, 5], [4.4, 1.6, 5], [4.4, 4.4, 5], [1.6, 4.4, 5]])
    found = filled(tmp_path, {"liver": [*rings, apart]}).voxels
    from_centre = distances([0, 1])[..., 5]
    expected = ((from_centre <= radii[0]) & (from_centre > radii[1])) | (from_centre <= radii[2])
    expected[2:5, 2:5] = True
    assert np.array_equal(found[..., 5] == 1, expected)
    assert found.sum() == expected.sum()


def test_contours_through_the_centres_of_voxels_include_them(tmp_path):
    square = np.array([[3, 3, 5], [7, 3, 5], [7, 6, 5], [3, 6, 5.0]])
    beside = np.array([[7, 3, 5], [9, 3, 5], [9, 6, 5], [7, 6, 5.0]])
    expected = np.zeros(SHAPE, bool)
    expected[3:10, 3:7, 5] = True
    assert np.array_equal(filled(tmp_path, {"liver": [square, beside]}).voxels == 1, expected)


def test_half_a_voxel_around_a_voxel_is_that_voxel(tmp_path):
    corners = np.array([[3, 3, 5], [4, 3, 5], [4, 4, 5], [3, 4, 5]]) - [0.5, 0.5, 0]
    assert np.argwhere(filled(tmp_path, {"liver": [corners]}).voxels).tolist() == [[3, 3, 5]]


def test_the_same_contour_twice_is_no_hole(tmp_path):
    once = circle(CENTRE, 9.31, 5, SPACING)
    found = filled(tmp_path, {"liver": [once, once]}).voxels
    assert np.array_equal(found[..., 5] == 1, distances([0, 1])[..., 5] <= 9.31)


@pytest.mark.parametrize("tilt", [{"a12": 0.6}, {"a02": -0.8}])
def test_contours_on_tilted_slices_lie_where_they_were_drawn(tmp_path, tilt):
    affine = affine_with(**tilt)
    rings = [circle((19.3, 17.4), 9.31, place, SPACING) for place in range(SHAPE[2])]
    read = filled(tmp_path, {"liver": rings}, affine)
    for place in range(SHAPE[2]):
        drawn = affine @ [19.3, 17.4, place, 1]
        found = np.argwhere(read.voxels[..., place]).mean(axis=0)
        assert np.abs(read.header.affine @ [*found, place, 1] - drawn).max() < 0.25


def test_a_volume_made_of_the_series_gets_the_same_places(tmp_path):
    rings = [to_lps(circle(CENTRE, 9.31, place, SPACING), AFFINE) for place in range(4, 9)]
    file = save_contours(tmp_path / "rt.dcm", {"liver": rings})
    sagittal_first = AFFINE[:, [2, 0, 1, 3]]
    hu = np.random.default_rng(0).integers(-100, 100, (SHAPE[2], SHAPE[0], SHAPE[1])).astype(np.int16)
    volume = save_nifti(tmp_path / "scan.nii.gz", hu, sagittal_first)
    found = read_structures(file, volume, LIVER).voxels.transpose(1, 2, 0)
    assert np.array_equal(found, read_structures(file, scan(tmp_path), LIVER).voxels)
    assert found.any()


def test_slices_without_contours_between_others_are_said(tmp_path):
    rings = [circle(CENTRE, 9.31, place, SPACING) for place in range(2, 18, 3)]
    read = filled(tmp_path, {"liver": rings})
    assert read.notes == ("its contours lie 3 slices apart, and the slices between them stay background",)


@pytest.mark.parametrize(("place", "text"), [(5.4, "0.40 voxels beside the slices"), (25, "beyond the scan")])
def test_a_contour_beside_the_slices_is_an_error(tmp_path, place, text):
    with pytest.raises(ValueError, match=rf"rt\.dcm cannot be used with .*ct: .*{text}"):
        filled(tmp_path, {"liver": [circle(CENTRE, 9.31, place, SPACING)]})


def test_points_are_no_structure(tmp_path):
    with pytest.raises(ValueError, match="no closed contour but POINT"):
        filled(tmp_path, {"liver": [np.array([[3, 3, 5.0]])]}, kind="POINT")
