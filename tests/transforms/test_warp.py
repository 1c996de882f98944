import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medssl.ops.positions import gather_positions
from medssl.ops.pyramid import gather_voxels
from medssl.transforms.warp import RandWarpedPaird

SIZES = [(48, 40), (24, 20, 12)]
STILL = {"scale": (1.0, 1.0), "max_rotation": 0.0}


def case(size):
    """A smooth volume that is all body, as large as the patch."""
    places = [torch.linspace(0, 2, n) for n in size]
    waves = torch.stack(torch.meshgrid(*places, indexing="ij")).sin().sum(0, keepdim=True)
    return {"image": waves, "foreground": torch.ones(1, *size, dtype=torch.bool), "case": "a"}


def draw(size, seed=0, volume=None, **options):
    """The transform after a draw, and what came out."""
    warp = RandWarpedPaird(size, **options).set_random_state(seed=seed)
    return warp, warp(volume or case(size))


def drawn(size, seed, **options):
    """The transform after a draw of the warp alone."""
    warp = RandWarpedPaird(size, **options).set_random_state(seed=seed)
    warp.randomize()
    return warp


def batched(voxels):
    return F.pad(voxels, (1, 0))


def not_mirrored(size):
    return next(seed for seed in range(50) if torch.equal(draw(size, seed, **STILL)[0].matrix, torch.eye(len(size))))


@pytest.mark.parametrize("elastic", [(), (0.06, 0.02)], ids=["affine", "elastic"])
@pytest.mark.parametrize("size", SIZES)
def test_shared_voxels_show_the_same_place_in_both_views(size, elastic):
    for seed in range(10):
        _, sample = draw(size, seed, displacements=elastic)
        there = gather_positions([sample["view_1"][None]], batched(sample["voxels_exact_1"]))
        here = gather_voxels([sample["view_2"][None]], batched(sample["voxels_2"]))
        torch.testing.assert_close(here, there, atol=0.03, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_positions_are_those_of_the_dense_warp(size):
    warp, sample = draw(size, displacements=(0.06, 0.02))
    read = warp.positions()[tuple(sample["voxels_2"].T)]
    torch.testing.assert_close(sample["voxels_exact_1"], read, atol=2e-3, rtol=0)
    assert (sample["voxels_exact_1"] - sample["voxels_1"]).abs().max() <= 0.5


@pytest.mark.parametrize("size", SIZES)
def test_a_pointwise_network_is_equivariant(size):
    _, sample = draw(size)

    def features(view):
        return [torch.cat([2 * view - 1, -view])[None]]

    warped = gather_positions(features(sample["view_1"]), batched(sample["voxels_exact_1"]))
    direct = gather_voxels(features(sample["view_2"]), batched(sample["voxels_2"]))
    torch.testing.assert_close(direct, warped, atol=0.05, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_the_identity_gives_the_patch_back(size):
    _, sample = draw(size, not_mirrored(size), num_voxels=10**6, **STILL)
    torch.testing.assert_close(sample["view_2"], sample["view_1"], atol=1e-4, rtol=0)
    assert torch.equal(sample["voxels_1"], sample["voxels_2"])
    assert len(sample["voxels_1"]) == math.prod(size)


@pytest.mark.parametrize("size", SIZES)
def test_elastic_fields_move_the_inside_and_keep_the_border(size):
    warp, _ = draw(size, not_mirrored(size), displacements=(0.06, 0.02), **STILL)
    still = RandWarpedPaird(size, **STILL).positions()
    moved = (warp.positions() - still).norm(dim=-1)
    for axis in range(len(size)):
        for end in (0, -1):
            assert moved.select(axis, end).max() < 1e-4
    reach = 0.08 * max(size) * math.sqrt(len(size))
    assert 0.2 < moved.max() < reach


def test_elastic_fields_move_each_axis_on_its_own():
    warp, _ = draw((41, 41), not_mirrored((41, 41)), displacements=(0.06,), **STILL)
    moved = (warp.positions() - RandWarpedPaird((41, 41), **STILL).positions()).flatten(0, 1)
    assert abs(torch.corrcoef(moved.T)[0, 1]) < 0.9


@pytest.mark.parametrize("size", SIZES)
def test_listed_voxels_are_distinct_and_drawn_from_everywhere(size):
    _, sample = draw(size, num_voxels=300, scale=(0.5, 0.5), max_rotation=0.0)
    assert len(sample["voxels_2"].unique(dim=0)) == 300
    share = sample["voxels_2"].float().mean(0) / (torch.tensor(size) - 1.0)
    torch.testing.assert_close(share, torch.full((len(size),), 0.5), atol=0.07, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_listed_voxels_come_from_inside(size):
    for seed in range(10):
        warp, sample = draw(size, seed, num_voxels=10**6, scale=(0.95, 0.95))
        grid = (2 * warp.positions() / (torch.tensor(size) - 1.0) - 1).flip(-1)
        ones = F.grid_sample(torch.ones(1, 1, *size), grid[None], align_corners=True)[0, 0]
        listed = torch.zeros(size, dtype=torch.bool)
        listed[tuple(sample["voxels_2"].T)] = True
        assert torch.equal(listed, ones > 0.999)


@pytest.mark.parametrize("size", SIZES)
def test_only_body_is_listed_where_there_is_some(size):
    volume = case(size)
    volume["foreground"] = volume["image"] > 1
    for seed in range(10):
        _, sample = draw(size, seed, volume)
        body = volume["foreground"][0][tuple(sample["voxels_1"].T)]
        assert body.all() or not body.any()


def test_windows_lie_in_the_patch_and_have_the_drawn_size():
    scales, corners = [], []
    for seed in range(200):
        positions = drawn((41, 41), seed, max_rotation=0.0).positions()
        assert positions.min() >= -1e-3
        assert positions.max() <= 40 + 1e-3
        scales.append(float(positions[..., 0].max() - positions[..., 0].min()) / 40)
        corners.append(positions.flatten(0, 1).amin(0))
    assert 0.33 <= min(scales) < 0.4
    assert 0.9 < max(scales) <= 0.951
    # As far up as the smallest windows can go, along both axes.
    assert torch.stack(corners).amin(0).max() < 2
    assert torch.stack(corners).amax(0).min() > 20


@pytest.mark.parametrize(("size", "limit"), [((16, 16), 90), ((16, 16, 8), 45)])
def test_turns_reach_their_limit_and_leave_the_third_axis(size, limit):
    angles = []
    for seed in range(300):
        matrix = drawn(size, seed).matrix.double()
        scale = matrix[:2, :2].det().abs().sqrt()
        if matrix[:2, :2].det() > 0:
            angles.append(math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])))
        torch.testing.assert_close(matrix @ matrix.T, scale**2 * torch.eye(len(size)).double(), atol=1e-6, rtol=0)
        if len(size) == 3:
            assert matrix[2].tolist() == [0, 0, pytest.approx(float(scale))]
    assert 0.9 * limit < np.abs(angles).max() <= limit


def test_a_third_is_mirrored_along_each_of_the_first_two_axes():
    signs = [drawn((16, 16, 8), seed, **STILL).matrix.diagonal().tolist() for seed in range(300)]
    shares = [signs.count(kind) / 300 for kind in ([-1, 1, 1], [1, -1, 1], [1, 1, 1])]
    assert sum(shares) == 1
    assert min(shares) > 0.25


@pytest.mark.parametrize("size", SIZES)
def test_a_seed_decides_everything(size):
    _, first = draw(size, 5, displacements=(0.06,))
    _, again = draw(size, 5, displacements=(0.06,))
    _, other = draw(size, 6, displacements=(0.06,))
    assert all(torch.equal(first[key], again[key]) for key in first if key != "case")
    assert not torch.equal(first["view_2"], other["view_2"])


def test_a_patch_is_cut_from_a_larger_volume_of_integers():
    volume = {"image": torch.full((1, 60, 60), 8, dtype=torch.int16), "intensity": (0.5, 1.0)}
    volume["foreground"] = torch.zeros(1, 60, 60, dtype=torch.bool)
    volume["foreground"][0, 40, 40] = True
    _, sample = draw((16, 16), volume=volume)
    assert sample["view_1"].shape == (1, 16, 16)
    assert (sample["view_1"] == 5).all()
    assert "case" not in sample


def test_a_field_without_a_number_of_control_points_is_refused():
    with pytest.raises(ValueError, match=r"displacements .* control_points"):
        RandWarpedPaird((8, 8), displacements=(0.1,), control_points=(5, 9))


def test_an_empty_body_is_refused():
    volume = {**case((16, 16)), "foreground": torch.zeros(1, 16, 16, dtype=torch.bool)}
    with pytest.raises(ValueError, match="empty"):
        RandWarpedPaird((8, 8))(volume)


def test_a_warp_that_shows_nothing_of_the_patch_is_refused():
    with pytest.raises(ValueError, match="lower displacements"):
        draw((16, 16), 1, displacements=(300.0,), scale=(5.0, 5.0), control_points=(3,))
