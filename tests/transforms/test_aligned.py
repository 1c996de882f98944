import math

import numpy as np
import pytest
import torch
from scipy.ndimage import rotate
from torch.nn import functional as F

from medssl.transforms.aligned import RandAlignedPatchesd, RandGeometry, cut_regions
from medssl.transforms.crops import RandViewFlipsd

SHAPES = [(20, 24), (12, 14, 16)]


def case_of(shape, **more):
    """An image whose regions can be read from its voxels."""
    generator = torch.Generator().manual_seed(0)
    regions = torch.randint(0, 50, (1, *shape), generator=generator, dtype=torch.int32)
    return {"image": regions / 64, "foreground": regions % 3 > 0, "regions": regions, **more}


@pytest.mark.parametrize("shape", SHAPES)
def test_both_views_are_one_patch_of_the_image(shape):
    case = case_of(shape, case="a")
    sample = RandAlignedPatchesd((8,) * len(shape)).set_random_state(seed=1)(case)
    start = sample["affine_1"][:, -1].long().tolist()
    expected = case["image"][(slice(None), *(slice(s, s + 8) for s in start))]
    assert torch.equal(sample["view_1"], expected) and torch.equal(sample["view_2"], expected)
    assert sample["case"] == "a"


@pytest.mark.parametrize("shape", SHAPES)
def test_regions_stay_on_their_voxels_through_crops_and_flips(shape):
    dims = len(shape)
    cut = RandAlignedPatchesd((8,) * dims, num_voxels=20).set_random_state(seed=2)
    flip = RandViewFlipsd(["view_1", "view_2"]).set_random_state(seed=3)
    flipped = set()
    for _ in range(8):
        sample = flip(cut(case_of(shape)))
        for k in (1, 2):
            assert torch.equal(sample[f"view_{k}"][0] * 64, sample[f"regions_{k}"].float())
            flipped.add(tuple(sample[f"affine_{k}"].diagonal().tolist()))
    assert len(flipped) > 2


@pytest.mark.parametrize("shape", SHAPES)
def test_voxels_are_of_the_body_and_the_same_in_both_views(shape):
    case = case_of(shape)
    sample = RandAlignedPatchesd((8,) * len(shape), num_voxels=20).set_random_state(seed=4)(case)
    assert torch.equal(sample["voxels_1"], sample["voxels_2"]) and len(sample["voxels_1"]) == 20
    whole = sample["voxels_1"] + sample["affine_1"][:, -1].long()
    assert case["foreground"][0][tuple(whole.T)].all()


def test_outside_a_small_image_there_is_no_region():
    sample = RandAlignedPatchesd((8, 8)).set_random_state(seed=0)(case_of((4, 8)))
    assert (sample["regions_1"] == -1).sum() == 32
    assert (sample["regions_1"][2:6] >= 0).all()


def test_the_position_is_that_of_the_centre_of_the_patch():
    sample = RandAlignedPatchesd((8, 8)).set_random_state(seed=0)(case_of((20, 24)))
    centre = sample["affine_1"][:, -1] + 4
    torch.testing.assert_close(sample["position"], centre / torch.tensor([20.0, 24.0]))


def test_the_position_of_a_slice_in_its_scan_comes_behind():
    sample = RandAlignedPatchesd((8, 8))(case_of((8, 8), position="0.25"))
    assert sample["position"].tolist() == [0.5, 0.5, 0.25]


def test_without_superpixels_there_are_no_regions():
    case = case_of((20, 24))
    del case["regions"]
    assert "regions_1" not in RandAlignedPatchesd((8, 8))(case)


def test_a_seed_gives_the_same_patch():
    cut = RandAlignedPatchesd((8, 8))
    samples = [cut.set_random_state(seed=5)(case_of((20, 24))) for _ in range(2)]
    assert all(torch.equal(value, samples[1][key]) for key, value in samples[0].items())


def test_a_box_of_regions_is_cut_with_its_border():
    regions = torch.arange(6).reshape(2, 3)
    cut = cut_regions(regions, np.array([-1, 2]), np.array([4, 3]))
    expected = F.pad(regions, (0, 2, 1, 1), value=-1)[:, 2:]
    assert torch.equal(cut, expected)


def smooth(*shape):
    coarse = torch.rand(1, 1, *[4] * len(shape), generator=torch.Generator().manual_seed(0))
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    return F.interpolate(coarse, shape, mode=mode)[0]


def test_alone_mirrors_are_left():
    image, seen = smooth(6, 5, 4), set()
    change = RandGeometry(prob=0).set_random_state(seed=0)
    mirrors = [[axis for axis in (1, 2, 3) if number >> axis - 1 & 1] for number in range(8)]
    for _ in range(40):
        result = change(image)
        equal = [i for i, dims in enumerate(mirrors) if torch.allclose(result, image.flip(dims), atol=1e-5)]
        assert len(equal) == 1
        seen |= set(equal)
    assert len(seen) == 8


def test_a_rotation_is_that_of_scipy():
    change = RandGeometry(prob=1, scale=(1, 1), displacement=0).set_random_state(seed=1)
    image = smooth(33, 33)
    result = change(image)[0]
    matrix = change.matrix.numpy()
    flips = np.round(np.linalg.det(matrix))
    angle = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    mirrored = image[0].numpy() if flips > 0 else image[0].flip(1).numpy()
    candidates = [rotate(mirrored, turn, reshape=False, order=1) for turn in (angle, -angle)]
    inner = (slice(10, 23),) * 2
    assert min(np.abs(c[inner] - result.numpy()[inner]).max() for c in candidates) < 0.02


def test_turns_reach_their_limit():
    change, angles = RandGeometry(prob=1, max_rotation=30, scale=(1, 1)).set_random_state(seed=0), []
    for _ in range(100):
        change.randomize((8, 8))
        # Mirrors turn by 180 degrees, or change the sign of a column.
        angles.append(math.degrees(math.asin(abs(change.matrix[1, 0]))))
    assert 27 < max(angles) <= 30.01


def test_turn_scale_and_bend_are_each_drawn_on_their_own():
    change, drawn = RandGeometry(prob=0.67).set_random_state(seed=0), []
    for _ in range(400):
        change.randomize((8, 8))
        scaled = abs(float(change.matrix.det().abs()) - 1) > 1e-5
        drawn.append((float(change.matrix[1, 0]) != 0, scaled, change.control is not None))
    shares = np.mean(drawn, axis=0)
    assert (np.abs(shares - 0.67) < 0.08).all()
    assert np.mean([all(kinds) for kinds in drawn]) == pytest.approx(0.67**3, abs=0.08)


def test_in_3d_the_third_axis_is_not_turned():
    change = RandGeometry(prob=1).set_random_state(seed=0)
    change(smooth(8, 8, 8))
    assert change.matrix[2, :2].abs().max() == 0 and change.matrix[:2, 2].abs().max() == 0


def test_the_scale_lies_in_its_range():
    change = RandGeometry(prob=1, scale=(0.7, 1.3)).set_random_state(seed=0)
    scales = []
    for _ in range(30):
        change.randomize((8, 8))
        scales.append(float(change.matrix.det().abs().sqrt()))
    assert 0.7 <= min(scales) < 0.85 and 1.15 < max(scales) <= 1.3


def test_displacements_are_small_and_smooth():
    change = RandGeometry(prob=1, max_rotation=0, scale=(1, 1), displacement=0.02).set_random_state(seed=0)
    ramp = torch.arange(64.0)[:, None].expand(64, 64)[None]
    moved = change(ramp)
    straight = ramp if change.matrix[0, 0] > 0 else ramp.flip(1)
    inner = (0, slice(4, 60), slice(4, 60))
    difference = (moved - straight)[inner]
    assert 0.05 < difference.abs().max() < 0.02 * 64 + 0.1
    assert difference.diff(dim=0).abs().max() < 0.5


def test_a_seed_gives_the_same_change():
    change, image = RandGeometry(), smooth(12, 12)
    assert torch.equal(change.set_random_state(seed=3)(image), change.set_random_state(seed=3)(image))
