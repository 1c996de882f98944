import json

import numpy as np
import pytest

from medssl.data.sampling import StepBatches
from medssl.probe.voxel_features import RowsOfRandomPatch, VoxelRows, choose_voxels, read_rows, write_rows
from tests.tiny import files_of

KEY = "0123456789abcdef" * 4


def label_map(*counts):
    label = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(label).reshape(-1, 10)


def some_rows(num_patches=3, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    counts = np.arange(2, 2 + num_patches)
    total = counts.sum()
    features = (rng.random((total, 5)) * scale).astype(np.float32)
    return VoxelRows(features, rng.integers(0, 3, total), rng.random(total, dtype=np.float32), counts)


def test_a_small_patch_is_kept_whole_with_weight_1():
    kept, weights = choose_voxels(label_map(60, 40), 100, np.random.default_rng(0))
    assert kept.tolist() == list(range(100))
    assert set(weights) == {1}


def test_half_is_background_and_half_shared_evenly_by_the_classes_that_have_enough():
    label = label_map(900, 70, 25, 5)
    kept, _ = choose_voxels(label, 60, np.random.default_rng(0))
    assert np.all(np.diff(kept) > 0)
    assert np.bincount(label.ravel()[kept]).tolist() == [35, 10, 10, 5]


@pytest.mark.parametrize("counts", [(900, 70, 25, 5), (100, 0, 0), (0, 100)])
def test_weights_add_up_to_the_voxels_of_every_class(counts):
    label = label_map(*counts)
    kept, weights = choose_voxels(label, 60, np.random.default_rng(0))
    sums = np.bincount(label.ravel()[kept], weights, minlength=len(counts))
    np.testing.assert_allclose(sums, counts, rtol=1e-6)


def test_a_weighted_sum_over_the_kept_voxels_is_that_over_all_on_average():
    label = label_map(900, 70, 25, 5)
    values = np.random.default_rng(1).random(label.size)
    sums = []
    for seed in range(400):
        kept, weights = choose_voxels(label, 60, np.random.default_rng(seed))
        sums.append(weights @ values[kept])
    spread = np.std(sums) / np.sqrt(len(sums))
    assert abs(np.mean(sums) - values.sum()) < 4 * spread


def test_rows_come_back_as_they_were_and_their_features_stay_on_the_disk(tmp_path):
    rows = some_rows()
    write_rows(tmp_path, KEY, "a", rows)
    found = read_rows(tmp_path, KEY, "a")
    assert isinstance(found.features, np.memmap)
    np.testing.assert_allclose(found.features, rows.features, rtol=1e-3)
    for name in ("labels", "weights", "counts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(rows, name))


def test_features_beyond_float16_are_kept_as_float32(tmp_path):
    rows = some_rows(scale=1e6)
    write_rows(tmp_path, KEY, "a", rows)
    np.testing.assert_array_equal(read_rows(tmp_path, KEY, "a").features, rows.features)


def test_rows_of_another_key_or_case_are_not_found(tmp_path):
    write_rows(tmp_path, KEY, "a", some_rows())
    # The same name of the file, another key.
    same_name = KEY[:16] + "0" * 48
    assert read_rows(tmp_path, same_name, "a") is None
    assert read_rows(tmp_path, KEY[::-1], "a") is None
    assert read_rows(tmp_path, KEY, "b") is None


def spoil(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("ending", "change"),
    [
        (".features.npy", spoil),
        (".voxels.npy", spoil),
        (".voxels.npy", lambda path: path.unlink()),
        (".json", lambda path: path.write_text("{")),
        (".json", lambda path: path.write_text(json.dumps({"key": KEY}))),
    ],
)
def test_damaged_rows_are_not_served(ending, change, tmp_path, caplog):
    write_rows(tmp_path, KEY, "a", some_rows())
    change(next(tmp_path.glob(f"*{ending}")))
    assert read_rows(tmp_path, KEY, "a") is None
    assert "are damaged" in caplog.text
    write_rows(tmp_path, KEY, "a", some_rows())
    assert read_rows(tmp_path, KEY, "a") is not None


def test_rows_without_their_description_do_not_count(tmp_path):
    write_rows(tmp_path, KEY, "a", some_rows())
    next(tmp_path.glob("*.json")).unlink()
    assert read_rows(tmp_path, KEY, "a") is None
    assert len(files_of(tmp_path)) == 2


def test_a_patch_is_drawn_whole_and_every_patch_equally_often():
    rows = some_rows(num_patches=3)
    draw = RowsOfRandomPatch()
    draw.set_random_state(0)
    drawn = [draw({"case": "a", "rows": rows}) for _ in range(600)]
    counts = np.bincount([len(sample["label"]) for sample in drawn])
    assert np.all(counts[2:] > 160)
    sample = next(sample for sample in drawn if len(sample["label"]) == 3)
    np.testing.assert_array_equal(sample["features"], rows.features[2:5])
    np.testing.assert_array_equal(sample["weight"], rows.weights[2:5])


def test_a_batch_is_a_pure_function_of_seed_and_step():
    cases = [{"case": str(seed), "rows": some_rows(seed=seed)} for seed in range(3)]
    first, again, other = (StepBatches(cases, RowsOfRandomPatch(), seed, 4, 2) for seed in (0, 0, 1))
    for step in (5, 0):
        for one, two in zip(first[step]["features"], again[step]["features"], strict=True):
            np.testing.assert_array_equal(one, two)
    labels = [np.concatenate([np.concatenate(b[step]["label"]) for step in range(8)]).tolist() for b in (first, other)]
    assert labels[0] != labels[1]
