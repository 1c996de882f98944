import nibabel as nib
import numpy as np
import pytest

from medssl.phantom.anatomy import LABELS
from medssl.phantom.scan import phantom_case
from tests.phantom.sizes import SMALL

# HU without agent to well enhanced in the portal venous phase, textbook ranges; spine: cancellous and cortical bone.
HU_RANGES = {
    "liver": (45, 125),
    "spleen": (35, 135),
    "right kidney": (25, 180),
    "left kidney": (25, 180),
    "aorta": (30, 180),
    "gallbladder": (-15, 30),
    "pancreas": (20, 110),
    "adrenal gland": (0, 90),
    "spine": (100, 400),
}


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_equal_arguments_give_equal_bits(modality):
    for one, other in zip(phantom_case(5, modality, **SMALL), phantom_case(5, modality, **SMALL), strict=True):
        assert one.tobytes() == other.tobytes()


def test_ct_and_mr_of_one_seed_show_one_patient():
    (ct, ct_label, ct_affine), (mr, mr_label, mr_affine) = (phantom_case(1, kind, **SMALL) for kind in ("CT", "MR"))
    assert np.array_equal(ct_label, mr_label)
    assert np.array_equal(ct_affine, mr_affine)
    assert not np.array_equal(ct, mr)


def test_no_two_patients_are_alike():
    (_, one, _), (_, other, _) = phantom_case(0, **SMALL), phantom_case(4, **SMALL)  # one kind of grid
    liver = [label == 1 for label in (one, other)]
    assert 2 * np.sum(liver[0] & liver[1]) / np.sum([mask.sum() for mask in liver]) < 0.95


def test_grids_are_straight_and_oblique_right_and_left_handed(cases):
    affines = [affine for _, _, affine in cases]
    tilts = [nib.affines.obliquity(affine).max() for affine in affines]
    assert [np.rad2deg(tilt) > 2 for tilt in tilts] == [False, True, True, False]
    assert [bool(np.linalg.det(affine) < 0) for affine in affines] == [False, False, True, False]
    for affine in affines:
        assert np.allclose(nib.affines.voxel_sizes(affine), (2.35, 2.35, 4.25), rtol=1e-5)


def test_organs_have_the_hu_of_their_tissue(cases):
    for image, label, _ in cases:
        for value, name in LABELS.items():
            low, high = HU_RANGES[name]
            assert low < image[label == value].mean() < high, name


def test_hu_of_organs_overlap(cases):
    # For any threshold between two means, more than a tenth of the voxels of one organ lie on the wrong side.
    for image, label, _ in cases:
        low, high = sorted((image[label == 1], image[label == 2]), key=np.mean)
        for threshold in range(int(low.mean()), int(high.mean()) + 1):
            assert np.mean(low > threshold) + np.mean(high < threshold) > 0.1


def test_air_is_air_and_a_round_field_has_padding(cases):
    for image, label, _ in cases[:3]:
        assert abs(np.median(image[:, :2]) + 1000) < 10
        assert image.min() >= -1024
        assert not label[:, :2].any()
    assert cases[3][0][0, 0, 0] == -2000
    assert not cases[3][1][cases[3][0] == -2000].any()


def test_mr_signal_is_not_negative_and_bright_in_fat():
    image, label, _ = phantom_case(2, "MR", **SMALL)
    assert image.min() >= 0
    assert np.percentile(image, 95) > 1.2 * image[label == 1].mean() > 2 * image[label == 6].mean()


@pytest.mark.parametrize(("setting", "message"), [({"modality": "PET"}, "PET"), ({"shape": (8, 40, 20)}, "8, 40, 20")])
def test_what_cannot_be_made_is_named(setting, message):
    with pytest.raises(ValueError, match=message):
        phantom_case(0, **setting)
