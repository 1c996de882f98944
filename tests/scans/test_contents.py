import numpy as np

from medssl.scans.contents import content_hash, label_counts
from tests.scans.files import hounsfield


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
