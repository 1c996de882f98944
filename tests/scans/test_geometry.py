"""The tables of headers and of pairs of headers: each is refused, warned of or accepted."""

import numpy as np
import pytest

from medssl.scans.geometry import header_problems, pair_problems, patch_problems, sheared_by
from medssl.scans.headers import read_header
from tests.scans.files import (
    AFFINE,
    SHAPE,
    affine_with,
    assert_judged,
    hounsfield,
    mirrored,
    save_nifti,
    save_series,
)

NO_FORMS = {"sform_code": 0, "qform_code": 0}
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def header_of(path, voxels=None, affine=AFFINE, **fields):
    return read_header(save_nifti(path, hounsfield() if voxels is None else voxels, affine, **fields))


AFFINES = {
    "zero": ("error", "singular", np.diag([0.0, 0, 0, 1])),
    "singular": ("error", "singular", affine_with(a01=1.5, a11=0.0)),
    "NaN": ("error", "NaN or Inf", affine_with(a03=np.nan)),
    "metres": ("error", "metres?", AFFINE * [[1e-3], [1e-3], [1e-3], [1]]),
    "spacing of 1000 mm": ("error", "exceeds 20", affine_with(a22=1000.0)),
    "long voxels": ("warning", "over 10 times", affine_with(a22=15.0)),
    "sheared": ("warning", "sheared, not at right angles: voxels lie up to 1.", affine_with(a01=0.4)),
    "sheared by less than a tenth of a voxel": ("accept", "", affine_with(a01=0.01)),
    "sound": ("accept", "", AFFINE),
}


@pytest.mark.parametrize(("expected", "reason", "affine"), AFFINES.values(), ids=AFFINES)
def test_an_affine_is_judged(tmp_path, expected, reason, affine):
    assert_judged(header_problems(header_of(tmp_path / "a.nii", affine=affine)), expected, reason)


@pytest.mark.parametrize("shape", [(12, 10, 8), (240, 200, 8)])
def test_shear_is_measured_in_mm_over_the_volume(tmp_path, shape):
    """A shear of the second axis is shared by both, so a corner moves by about half of it times the half lengths."""
    slope = 0.002
    affine = np.diag([1.0, 1, 1, 1])
    affine[0, 1] = slope
    header = header_of(tmp_path / "a.nii", np.arange(np.prod(shape), dtype=np.float32).reshape(shape), affine)
    half = [slope / 2 * (size - 1) / 2 for size in shape[:2]]
    assert sheared_by(header) == pytest.approx(np.hypot(*half), rel=0.01)
    problems = header_problems(header)
    assert bool(problems) == (np.hypot(*half) > 0.1)
    assert not any("degrees" in problem.text for problem in problems)


def test_no_turn_is_shear(tmp_path):
    turn = np.eye(4)
    turn[:3, :3] = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
    assert sheared_by(header_of(tmp_path / "a.nii", affine=turn @ AFFINE)) == pytest.approx(0, abs=1e-4)


FIELDS = {
    "no sform and no qform": ("warning", "neither sform nor qform", NO_FORMS),
    "pixdim 0 without forms": ("error", "singular", {**NO_FORMS, "pixdim": [1, 0, 0, 0, 0, 0, 0, 0]}),
    "sform and qform differ": ("warning", "lie 6.50 mm apart; the sform is used", {"qoffset_x": -13.5}),
    "pixdim fits only the qform": ("warning", "the qform is used", {"srow_x": [3, 0, 0, -20]}),
    "pixdim fits only an unset qform": (
        "error",
        "pixdim contradicts its sform",
        {"srow_x": [3, 0, 0, -20], "qform_code": 0},
    ),
    "unused qform is not a rotation": ("warning", "not a rotation", {"quatern_b": 3}),
    "unused qform of NaN": ("warning", "not a rotation", {"quatern_b": np.nan}),
    "used qform is not a rotation": ("error", "NaN or Inf", {"quatern_b": 3, "sform_code": 0}),
    "slope 0": ("accept", "", {"scl_slope": 0}),
    "slope NaN": ("accept", "", {"scl_slope": np.nan, "scl_inter": np.nan}),
    "slope 0 with an intercept": ("warning", "-1024 is ignored", {"scl_slope": 0, "scl_inter": -1024}),
    "slope 1e30": ("warning", "implausible", {"scl_slope": 1e30}),
}


@pytest.mark.parametrize(("expected", "reason", "fields"), FIELDS.values(), ids=FIELDS)
def test_the_fields_of_a_header_are_judged(tmp_path, expected, reason, fields):
    assert_judged(header_problems(header_of(tmp_path / "a.nii", **fields)), expected, reason)


KINDS = {
    "4D with 3 volumes": ("error", "several volumes", np.stack([hounsfield()] * 3, axis=-1)),
    "4D with 1 volume": ("accept", "", hounsfield()[..., None]),
    "single slice": ("warning", "single slice", hounsfield()[:, :, 3:4]),
    "2D": ("error", "2 axes", hounsfield()[:, :, 3]),
    "complex": ("error", "complex", hounsfield().astype(np.complex64)),
    "colour": ("error", "3 numbers in a voxel", np.zeros(SHAPE, RGB)),
}


@pytest.mark.parametrize(("expected", "reason", "voxels"), KINDS.values(), ids=KINDS)
def test_the_kind_of_a_volume_is_judged(tmp_path, expected, reason, voxels):
    assert_judged(header_problems(header_of(tmp_path / "a.nii", voxels)), expected, reason)


def test_a_tilted_gantry_is_a_warning(tmp_path):
    folder = save_series(tmp_path / "ct", hounsfield(), affine_with(a12=0.5))
    assert_judged(header_problems(read_header(folder)), "warning", "tilted gantry")


LABELS = {
    "moved by 50 mm": ("error", "up to 50.00 mm", {"affine": affine_with(a03=30.0)}),
    "left and right swapped": ("error", "mm from those of the image", {"affine": affine_with(a00=-1.5)}),
    "mirrored in place": ("warning", "left-right swap", {"affine": mirrored()}),
    "twice the spacing": ("error", "mm from those of the image", {"affine": affine_with(a22=5.0)}),
    "one slice short": ("error", "its label is 12 x 10 x 7 but", {"voxels": hounsfield()[:, :, :-1]}),
    "rounded affine": ("accept", "", {"affine": AFFINE + 1e-4 * np.eye(4)}),
    "no forms": ("error", "mm from those of the image", NO_FORMS),
}


@pytest.mark.parametrize(("expected", "reason", "changes"), LABELS.values(), ids=LABELS)
def test_the_grid_of_a_label_is_compared_with_that_of_its_image(tmp_path, expected, reason, changes):
    image, label = header_of(tmp_path / "image.nii"), header_of(tmp_path / "label.nii", **changes)
    assert_judged(pair_problems(image, label), expected, reason)


def test_a_label_in_another_order_of_axes_at_the_same_place_is_sound(tmp_path):
    image = read_header(save_series(tmp_path / "ct", hounsfield()))
    assert pair_problems(image, header_of(tmp_path / "label.nii", affine=mirrored())) == []


@pytest.mark.parametrize(
    ("patch_size", "spacing", "padding"),
    [
        ((16, 8, 9), None, "padded by 4 x 0 x 1 voxels"),
        ((12, 10, 8), None, None),
        # Patches are cut after resampling.
        ((12, 10, 8), (3.0, 1.25, 2.5), "padded by 6 x 0 x 0 voxels"),
    ],
)
def test_a_volume_smaller_than_the_patch_will_be_padded(tmp_path, patch_size, spacing, padding):
    problems = patch_problems(header_of(tmp_path / "a.nii"), patch_size, spacing)
    assert_judged(problems, "warning" if padding else "accept", padding)
