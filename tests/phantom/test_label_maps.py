import numpy as np
import pytest

from medssl.phantom.cut_outs import cut_out
from medssl.phantom.label_maps import AIR, random_label_map

SHAPE = (48, 40, 32)


@pytest.fixture(scope="module")
def scenes():
    return [random_label_map(np.random.default_rng(seed), SHAPE) for seed in range(20)]


def test_equal_seeds_give_equal_scenes_and_others_do_not(scenes):
    assert np.array_equal(random_label_map(np.random.default_rng(3), SHAPE), scenes[3])
    assert not np.array_equal(scenes[3], scenes[4])


def test_regions_are_many_and_of_all_sizes(scenes):
    sizes = [np.bincount(scene.ravel())[AIR + 1 :] for scene in scenes]
    counts = [int((size > 0).sum()) for size in sizes]
    assert min(counts) >= 8
    assert np.mean(counts) > 25
    joined = np.concatenate(sizes)
    joined = joined[joined > 0]
    # From 2 voxels across to half of the map.
    assert (joined <= 8).mean() > 0.02
    assert joined.max() > 0.5 * np.prod(SHAPE)
    assert (joined > 0.05 * np.prod(SHAPE)).sum() >= len(scenes)


def test_some_scenes_are_a_body_in_air_and_none_is_air_alone(scenes):
    air = np.array([(scene == AIR).mean() for scene in scenes])
    assert 0.2 < (air > 0.05).mean() < 0.95
    assert air.max() <= 0.85


def test_a_slice_is_a_map_of_one_voxel_along_the_last_axis():
    scene = random_label_map(np.random.default_rng(0), (64, 64, 1))
    assert scene.shape == (64, 64, 1)
    assert len(np.unique(scene)) > 5


def test_a_cut_out_of_the_phantom_shows_its_tissues():
    points = np.stack(np.meshgrid(*[np.arange(size, dtype=np.float32) - size / 2 for size in SHAPE], indexing="ij"))
    tissues = [cut_out(np.random.default_rng(seed), points) for seed in range(6)]
    assert all(part.shape == SHAPE for part in tissues)
    assert max(len(np.unique(part)) for part in tissues) > 8
