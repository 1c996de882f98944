import numpy as np
import pytest

from medssl.probe.scan_voxels import choose_steady_voxels, read_features, write_features


@pytest.fixture
def label():
    values = np.zeros((20, 20, 10), dtype=int)
    values[:8, :8, :5], values[12:14, 12:14, 2:4] = 1, 2
    return values


def test_half_of_the_rows_are_shared_by_the_classes(label):
    voxels, weights = choose_steady_voxels(label, 200, seed=0)
    found = label.ravel()[voxels]
    assert np.bincount(found).tolist() == [142, 50, 8]
    assert weights[found == 2].tolist() == [1.0] * 8


def test_weights_count_every_voxel_of_a_class_once(label):
    voxels, weights = choose_steady_voxels(label, 200, seed=0)
    np.testing.assert_allclose(np.bincount(label.ravel()[voxels], weights), np.bincount(label.ravel()), rtol=1e-5)


def test_a_small_scan_is_kept_whole(label):
    voxels, weights = choose_steady_voxels(label, label.size, seed=0)
    assert voxels.tolist() == list(range(label.size))
    assert set(weights) == {1.0}


def test_a_changed_label_keeps_most_voxels(label):
    before, _ = choose_steady_voxels(label, 400, seed=0)
    label[8, :8, :5] = 1
    after, _ = choose_steady_voxels(label, 400, seed=0)
    # 40 of 4000 voxels changed; another choice would have about 360 voxels of its own.
    assert len(np.setdiff1d(after, before)) < 30


def test_every_voxel_of_a_class_is_as_likely():
    label = np.zeros(40, dtype=int)
    label[:20] = 1
    chosen = np.concatenate([choose_steady_voxels(label, 10, seed)[0] for seed in range(2000)])
    frequency = np.bincount(chosen, minlength=40) / 2000
    np.testing.assert_allclose(frequency, 0.25, atol=0.05)


def test_written_features_are_read_back(tmp_path):
    voxels, features = np.array([3, 7]), np.array([[1.0, 0.5], [2.0, -1.0]], np.float32)
    write_features(tmp_path / "a.npz", "key", voxels, features)
    read = read_features(tmp_path / "a.npz", "key")
    np.testing.assert_array_equal(read[0], voxels)
    np.testing.assert_array_equal(read[1], features)


def test_large_features_stay_finite(tmp_path):
    write_features(tmp_path / "a.npz", "key", np.array([0]), np.array([[1e6]], np.float32))
    assert read_features(tmp_path / "a.npz", "key")[1].tolist() == [[1e6]]


def test_features_of_another_key_or_damaged_ones_are_not_read(tmp_path, caplog):
    path = tmp_path / "a.npz"
    assert read_features(path, "key") is None
    write_features(path, "key", np.arange(100), np.ones((100, 2), np.float32))
    assert read_features(path, "other") is None
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert read_features(path, "key") is None
    assert "computed again" in caplog.text
