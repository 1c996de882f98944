import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from medssl.scans.fingerprint import LIKENESS, cell_size, fingerprint, likeness, middle_of

AFFINE = np.diag([1.5, 1.5, 3.0, 1.0])


def scan(seed):
    """A scan with structures of many sizes."""
    random = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(random.normal(size=(60, 50, 30)), width) * width for width in (1.5, 3.0, 6.0)]
    return (1000 * sum(smooth)).astype(np.float32)


def alike(first, second):
    cell = cell_size(first[0].shape, first[1])
    one, other = (fingerprint(*volume, cell) for volume in (first, second))
    return float(likeness(one, middle_of(other)[None])[0])


def moved(affine, voxel):
    placed = affine.copy()
    placed[:3, 3] = (affine @ (*voxel, 1))[:3]
    return placed


def on_another_grid(voxels, affine):
    zoomed = ndimage.zoom(voxels, (0.8, 1.2, 0.9), order=1, mode="nearest", grid_mode=True)
    return zoomed, affine @ np.diag([*(np.array(voxels.shape) / zoomed.shape), 1.0])


def stored_otherwise(voxels, affine, axes):
    image = nib.Nifti1Image(voxels, affine).as_reoriented(nib.orientations.axcodes2ornt(axes))
    return np.asarray(image.dataobj), image.affine


ALTERED = {
    "noise": lambda v, a: (v + np.random.default_rng(9).normal(0, 0.1 * v.std(), v.shape), a),
    "offset and factor": lambda v, a: (3 * v - 500, a),
    "fewer slices": lambda v, a: (v[:, :, 2:-1], moved(a, (0, 0, 2))),
    "a crop": lambda v, a: (v[5:-2, 1:-4, 2:], moved(a, (5, 1, 2))),
    "a crop that forgets its place": lambda v, a: (v[5:-2, 1:-4, 2:], a),
    "another grid": on_another_grid,
    "stored from left to right": lambda v, a: stored_otherwise(v, a, "LAS"),
    "slices first": lambda v, a: stored_otherwise(v, a, "SRA"),
    "integers": lambda v, a: (np.rint(v).astype(np.int16), a),
    "a few bright voxels": lambda v, a: (np.where(v > np.quantile(v, 0.999), 1e5, v), a),
}


@pytest.mark.parametrize("alteration", ALTERED)
def test_an_altered_copy_is_like_its_original(alteration):
    assert alike((scan(0), AFFINE), ALTERED[alteration](scan(0), AFFINE)) > LIKENESS


def test_other_scans_are_not_alike():
    cell = cell_size((60, 50, 30), AFFINE)
    prints = [fingerprint(scan(seed), AFFINE, cell) for seed in range(8)]
    found = np.array([likeness(one, np.array([middle_of(other) for other in prints])) for one in prints])
    assert np.diag(found) == pytest.approx(1)
    assert found[~np.eye(8, dtype=bool)].max() < 0.7


@pytest.mark.parametrize("shape", [(60, 50, 3), (200, 4, 1), (1, 1, 1)])
def test_thin_and_tiny_volumes_have_fingerprints_too(shape):
    found = fingerprint(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), np.eye(4), 1.0)
    assert found.shape == (22, 22, 22) and np.isfinite(found).all()


def test_a_constant_volume_is_like_nothing():
    flat = fingerprint(np.ones((40, 40, 40)), np.eye(4), 1.0)
    assert likeness(flat, middle_of(flat)[None])[0] < LIKENESS
