"""The tables of voxels: each is refused, warned of or accepted."""

import nibabel as nib
import numpy as np
import pytest

from medssl.scans.contents import content_hash, image_problems, label_counts, label_problems
from tests.scans.files import AFFINE, SHAPE, assert_judged, hounsfield, organs

NAMES = {0: "background", 1: "liver", 2: "spleen"}


def spotted(value: float) -> np.ndarray:
    voxels = hounsfield().astype(np.float32)
    voxels[5, 5, 4] = value
    return voxels


IMAGES = {
    "sound": ("accept", "", hounsfield()),
    "NaN": ("error", "1 of its voxels are NaN, Inf or too large", spotted(np.nan)),
    "Inf": ("error", "1 of its voxels are NaN, Inf or too large", spotted(np.inf)),
    "beyond float32": ("error", "float32", hounsfield() * 1e38),
    "constant": ("error", "all its voxels are 7", np.full(SHAPE, 7, np.int16)),
    "only air": ("error", "no body", np.minimum(hounsfield(), -600)),
    "no intercept": ("warning", "lowest value is 0", (hounsfield() + 1000).astype(np.uint16)),
    "beyond HU": ("warning", "not HU", spotted(40000.0)),
}


@pytest.mark.parametrize(("expected", "reason", "voxels"), IMAGES.values(), ids=IMAGES)
def test_the_voxels_of_a_ct_are_judged(expected, reason, voxels):
    assert_judged(image_problems(voxels, "CT"), expected, reason)


def test_an_mr_may_have_any_values_but_one_alone():
    assert image_problems(hounsfield() + 1000, "MR") == []
    assert_judged(image_problems(np.full(SHAPE, 3, np.int16), "MR"), "error", "all its voxels are 3")


LABELS = {
    "sound": ("accept", "", organs()),
    "empty": ("warning", "empty", organs() * 0),
    "almost integers": ("warning", "truncate", organs() * np.float32(0.9997)),
    "interpolated": ("error", "not integers", organs() * np.float32(0.5)),
    "NaN": ("error", "NaN or Inf", np.where(organs() == 2, np.nan, organs())),
    "undeclared": ("error", "255 (18 voxels)", np.where(organs() == 2, 255, organs())),
}


@pytest.mark.parametrize(("expected", "reason", "voxels"), LABELS.values(), ids=LABELS)
def test_the_voxels_of_a_label_are_judged(expected, reason, voxels):
    assert_judged(label_problems(voxels, NAMES), expected, reason)


def test_counts_are_those_of_a_sort():
    values = np.random.default_rng(0).integers(-3, 5, (6, 5, 4))
    assert label_counts(values) == dict(
        zip(*(part.tolist() for part in np.unique(values, return_counts=True)), strict=True)
    )


def test_counts_of_far_values_take_little_memory():
    assert label_counts(np.array([0, 0, 2**40])) == {0: 2, 2**40: 1}


def test_the_hash_depends_on_values_and_shape():
    voxels = hounsfield()
    changed = voxels.copy()
    changed[0, 0, 0] += 1
    hashes = {content_hash(item) for item in (voxels, changed, voxels.reshape(10, 12, 8), voxels[::-1])}
    assert len(hashes) == 4


def test_the_hash_does_not_depend_on_how_voxels_are_stored():
    voxels = hounsfield()
    stored = (
        voxels,
        np.asfortranarray(voxels),
        voxels.astype(">i2"),
        voxels.astype(np.float64),
        voxels * -0.0 + voxels,
    )
    assert len({content_hash(item) for item in stored}) == 1


@pytest.mark.parametrize("codes", ["LPS", "PIR", "SAL", "RAI"])
@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_a_scan_has_one_hash_however_its_axes_are_stored(codes, dtype):
    turn = nib.orientations.axcodes2ornt(codes)
    stored = nib.apply_orientation(hounsfield(), turn).astype(dtype)
    affine = AFFINE @ nib.orientations.inv_ornt_aff(turn, SHAPE)
    assert content_hash(stored, affine) == content_hash(hounsfield(), AFFINE)
    assert content_hash(stored, affine) != content_hash(stored, AFFINE)
