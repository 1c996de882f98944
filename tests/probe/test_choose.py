import numpy as np
import pytest

from medssl.probe.choose import at_random, choose_voxels, steadily


def label_map(*counts):
    label = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(label).reshape(-1, 10)


def takes(label, seed=0):
    """Give both ways to take voxels of a class."""
    return {"at_random": at_random(np.random.default_rng(seed)), "steadily": steadily(label.size, seed)}


both = pytest.mark.parametrize("way", ["at_random", "steadily"])


@both
def test_a_small_map_is_kept_whole_with_weight_1(way):
    label = label_map(60, 40)
    kept, weights = choose_voxels(label, 100, takes(label)[way])
    assert kept.tolist() == list(range(100))
    assert set(weights) == {1}


@both
def test_half_is_background_and_half_shared_evenly_by_the_classes_that_have_enough(way):
    label = label_map(900, 70, 25, 5)
    kept, _ = choose_voxels(label, 60, takes(label)[way])
    assert np.all(np.diff(kept) > 0)
    assert np.bincount(label.ravel()[kept]).tolist() == [35, 10, 10, 5]


@both
@pytest.mark.parametrize("counts", [(900, 70, 25, 5), (100, 0, 0), (0, 100)])
def test_weights_add_up_to_the_voxels_of_every_class(counts, way):
    label = label_map(*counts)
    kept, weights = choose_voxels(label, 60, takes(label)[way])
    sums = np.bincount(label.ravel()[kept], weights, minlength=len(counts))
    np.testing.assert_allclose(sums, counts, rtol=1e-6)


@both
def test_a_weighted_sum_over_the_kept_voxels_is_that_over_all_on_average(way):
    label = label_map(900, 70, 25, 5)
    values = np.random.default_rng(1).random(label.size)
    sums = []
    for seed in range(400):
        kept, weights = choose_voxels(label, 60, takes(label, seed)[way])
        sums.append(weights @ values[kept])
    spread = np.std(sums) / np.sqrt(len(sums))
    assert abs(np.mean(sums) - values.sum()) < 4 * spread


@both
def test_every_voxel_of_a_class_is_as_likely(way):
    label = np.zeros(40, dtype=int)
    label[:20] = 1
    chosen = np.concatenate([choose_voxels(label, 10, takes(label, seed)[way])[0] for seed in range(2000)])
    frequency = np.bincount(chosen, minlength=40) / 2000
    np.testing.assert_allclose(frequency, 0.25, atol=0.05)


@pytest.fixture
def label():
    values = np.zeros((20, 20, 10), dtype=int)
    values[:8, :8, :5], values[12:14, 12:14, 2:4] = 1, 2
    return values


def test_a_changed_label_keeps_most_voxels_where_they_are_taken_steadily(label):
    take = steadily(label.size, seed=0)
    before, _ = choose_voxels(label, 400, take)
    label[8, :8, :5] = 1
    after, _ = choose_voxels(label, 400, take)
    # 40 of 4000 voxels changed; another choice would have about 360 voxels of its own.
    assert len(np.setdiff1d(after, before)) < 30


def test_fewer_voxels_are_among_more_where_they_are_taken_steadily(label):
    take = steadily(label.size, seed=0)
    few, more = (choose_voxels(label, number, take)[0] for number in (100, 900))
    assert np.isin(few, more).all()
