import numpy as np
import pytest
import torch

from medssl.networks.heads import LinearHead
from medssl.networks.rows import LinearHeadOnRows
from medssl.probe.points import Settings, click_rows, clicked_components, fit_clicks, nearness

SHAPE, SPACING = (40, 40, 20), (2.0, 2.0, 4.0)
INSIDE, OUTSIDE = np.array([[20, 20, 10]]), np.array([[24, 20, 10]])
NONE = np.empty((0, 3), dtype=int)
SETTINGS = Settings(radius=5.0, l2=1e-2, weak_share=0.25)


def rows_of(inside, outside, shape=SHAPE):
    """The rows, with the voxels themselves as features."""
    return click_rows(lambda voxels: voxels.astype(np.float32), shape, SPACING, inside, outside, SETTINGS)


def distance(rows, click):
    return np.linalg.norm((rows.features - click) * SPACING, axis=1)


def test_both_sides_weigh_the_same_however_many_clicks_they_have():
    rows = rows_of(INSIDE, np.concatenate([OUTSIDE, OUTSIDE + 8]))
    assert rows.weights[rows.labels == 1].sum() == pytest.approx(rows.weights[rows.labels == 0].sum())


def test_voxels_near_a_click_in_mm_are_its_side():
    rows = rows_of(INSIDE, NONE)
    near = rows.labels == 1
    assert distance(rows, INSIDE[0])[near].max() <= 5.0
    # Counted by hand: 21 in the plane of the click, 9 above and 9 below it.
    assert near.sum() == 21 + 2 * 9


def test_a_voxel_near_both_sides_belongs_to_the_nearer_click():
    rows = rows_of(INSIDE, OUTSIDE)
    ours, theirs = distance(rows, INSIDE[0]), distance(rows, OUTSIDE[0])
    assert (ours <= theirs)[rows.labels == 1].all()
    assert (theirs <= ours)[(rows.labels == 0) & (theirs <= 5.0)].all()


def test_the_nearer_to_the_click_the_more_a_voxel_weighs():
    rows = rows_of(INSIDE, NONE)
    inside = rows.labels == 1
    order = np.argsort(distance(rows, INSIDE[0])[inside])
    assert (np.diff(rows.weights[inside][order]) <= 0).all()


def test_without_clicks_outside_far_voxels_are_the_outside():
    rows = rows_of(INSIDE, NONE)
    outside = rows.labels == 0
    assert outside.sum() > 100
    assert distance(rows, INSIDE[0])[outside].min() >= 30.0


def test_clicks_outside_leave_far_voxels_their_share():
    rows = rows_of(INSIDE, OUTSIDE)
    outside, far = rows.labels == 0, distance(rows, OUTSIDE[0]) > 5.0
    assert rows.weights[outside & far].sum() == pytest.approx(0.25 * rows.weights[outside].sum())


def test_a_scan_too_small_for_far_voxels_learns_from_clicks_alone():
    rows = rows_of(np.array([[1, 1, 1]]), np.array([[5, 5, 5]]), shape=(6, 6, 6))
    assert rows.weights[rows.labels == 1].sum() == pytest.approx(rows.weights[rows.labels == 0].sum())


def test_the_same_clicks_give_the_same_rows():
    for one, other in zip(rows_of(INSIDE, OUTSIDE), rows_of(INSIDE, OUTSIDE), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_fitted_head_tells_the_sides_apart():
    head = LinearHead(3, level_channels=(3,), num_classes=1, upsampling="linear").eval()
    rows = rows_of(INSIDE, np.array([[36, 20, 10]]))
    fit_clicks(head, rows, SETTINGS)
    with torch.no_grad():
        logits = LinearHeadOnRows(head)(torch.tensor([[20.0, 20.0, 10.0], [36.0, 20.0, 10.0]]))
    assert logits[0] > 0 > logits[1]


def test_only_parts_with_a_click_inside_stay():
    mask = np.zeros((9, 9, 9), bool)
    mask[:3, :3, :3] = mask[5:, 5:, 5:] = True
    found = clicked_components(mask, np.array([[6, 6, 6]]), NONE)
    np.testing.assert_array_equal(np.argwhere(found), np.argwhere(mask[5:, 5:, 5:]) + 5)


def test_clicked_voxels_are_what_was_said_of_them():
    mask = np.zeros((9, 9, 9), bool)
    mask[5:, 5:, 5:] = True
    found = clicked_components(mask, np.array([[6, 6, 6], [1, 1, 1]]), np.array([[7, 7, 7]]))
    assert found[1, 1, 1] and found[6, 6, 6] and not found[7, 7, 7]
    assert found.sum() == 4**3 - 1 + 1


def test_the_place_speaks_for_voxels_near_a_click_inside_and_against_those_near_one_outside():
    settings = SETTINGS._replace(nearness=6.0, reach=20.0)
    found = nearness(SHAPE, SPACING, INSIDE, OUTSIDE, settings)
    expected = 6 * (1 - np.exp(-0.5 * (8 / 20) ** 2))
    assert found.shape == SHAPE
    assert found[tuple(INSIDE[0])] == pytest.approx(expected, abs=1e-5)
    assert found[tuple(OUTSIDE[0])] == pytest.approx(-expected, abs=1e-5)


def test_of_several_clicks_the_nearest_counts():
    settings = SETTINGS._replace(nearness=6.0, reach=20.0)
    twice = nearness(SHAPE, SPACING, np.concatenate([INSIDE, INSIDE]), NONE, settings)
    np.testing.assert_array_equal(twice, nearness(SHAPE, SPACING, INSIDE, NONE, settings))
