import numpy as np

from medssl.phantom.anatomy import LABELS
from medssl.phantom.scan import phantom_case
from tests.phantom.sizes import SMALL


def world_centre(label, affine, value):
    return affine[:3, :3] @ np.argwhere(label == value).mean(0) + affine[:3, 3]


def by_name(label, affine):
    return {name: world_centre(label, affine, value) for value, name in LABELS.items()}


def test_every_label_is_in_every_case():
    for seed in range(12):
        assert np.unique(phantom_case(seed, **SMALL)[1]).tolist() == [0, *LABELS]


def test_small_organs_are_small(cases):
    for _, label, _ in cases:
        sizes = dict(enumerate(np.bincount(label.ravel())))
        assert 20 < sizes[8] < sizes[6] < sizes[2] < sizes[1] / 4


def test_sides_are_right_in_the_world_of_every_grid(cases):
    for _, label, affine in cases:
        at = by_name(label, affine)
        spine = at["spine"]
        for name in ("liver", "right kidney", "gallbladder"):
            assert at[name][0] > spine[0], name  # NIfTI: x grows to the patient's right
        for name in ("spleen", "left kidney"):
            assert at[name][0] < spine[0], name
        for name in ("liver", "pancreas", "aorta", "gallbladder"):
            assert at[name][1] > spine[1], name  # y grows to the front
        for name in ("liver", "spleen", "adrenal gland"):
            assert at[name][2] > max(at["left kidney"][2], at["right kidney"][2]), name  # z grows to the head


def touch(label, one, other):
    """Tell whether voxels of two labels are face neighbours."""
    pairs = [(np.moveaxis(label, axis, 0)[1:], np.moveaxis(label, axis, 0)[:-1]) for axis in range(3)]
    return any(((a == x) & (b == y)).any() for a, b in pairs for x, y in ((one, other), (other, one)))


def test_organs_touch(cases):
    for _, label, _ in cases:
        assert touch(label, 1, 3)  # liver and right kidney
        assert touch(label, 1, 6)  # liver and gallbladder
        assert not touch(label, 2, 6)  # spleen and gallbladder
