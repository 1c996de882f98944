"""Scans with the same voxels: told apart by a sum where that suffices, else by the hash of both."""

import numpy as np
import pytest

from medssl.data.same_voxels import Place, SameVoxels
from medssl.scans.contents import content_hash, orderless_key

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
SCAN = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)


def never():
    raise AssertionError("read again")


def stored_otherwise(scan):
    """Return a scan and its affine with axes in another order and direction."""
    affine = AFFINE[:, [2, 0, 1, 3]].copy()
    affine[:3, 0] *= -1
    affine[:3, 3] = AFFINE[:3, 2] * (scan.shape[2] - 1)
    return scan.transpose(2, 0, 1)[::-1], affine


def test_scans_that_differ_are_never_read_again():
    seen = SameVoxels()
    tokens = {seen.add(Place(str(number), "training"), SCAN + number, AFFINE, never) for number in range(4)}
    assert len({token for token, _ in tokens}) == 4 and {other for _, other in tokens} == {None}


def test_the_first_of_those_with_the_same_voxels_is_found_however_they_are_stored():
    seen, read = SameVoxels(), []

    def content():
        read.append("a")
        return content_hash(SCAN, AFFINE)

    first, _ = seen.add(Place("a", "training"), SCAN, AFFINE, content)
    for case, (voxels, affine) in {"b": stored_otherwise(SCAN), "c": (SCAN.astype(np.float64), AFFINE)}.items():
        assert seen.add(Place(case, "test"), voxels, affine, never) == (first, Place("a", "training"))
    assert read == ["a"]


def test_a_mirror_image_is_another_scan():
    seen = SameVoxels()
    first, _ = seen.add(Place("a", "training"), SCAN, AFFINE, lambda: content_hash(SCAN, AFFINE))
    mirrored, other = seen.add(Place("b", "test"), SCAN[::-1], AFFINE, never)
    assert orderless_key(SCAN) == orderless_key(SCAN[::-1])
    assert mirrored != first and other is None
    assert seen.add(Place("c", "test"), SCAN[::-1].copy(), AFFINE, never) == (mirrored, Place("b", "test"))


@pytest.mark.parametrize("value", [np.float32(1e-7), np.float32(-1.0)])
def test_one_other_voxel_gives_another_key(value):
    changed = SCAN.copy()
    changed[1, 2, 3] += value
    assert orderless_key(changed) != orderless_key(SCAN)


def test_zero_has_one_key_whatever_its_sign():
    assert orderless_key(np.zeros((2, 2, 2))) == orderless_key(-np.zeros((2, 2, 2)))
