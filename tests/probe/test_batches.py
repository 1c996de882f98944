import numpy as np
import torch

from medssl.data.sampling import StepBatches
from medssl.probe.batches import FeatureCases, RowsOfRandomPatch, collate_volumes, prepare_rows
from medssl.probe.rows import VoxelRows


def some_rows(num_patches=3, seed=0):
    rng = np.random.default_rng(seed)
    counts = np.arange(2, 2 + num_patches)
    total = counts.sum()
    features = rng.random((total, 5)).astype(np.float16)
    return VoxelRows(features, rng.integers(0, 3, total), rng.random(total, dtype=np.float32), counts)


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


def test_rows_reach_the_network_as_float32_with_their_patches():
    first, second = some_rows(2), some_rows(1, seed=1)
    batch = collate_volumes([{"case": "a", "rows": first}, {"case": "b", "rows": second}])
    rows, targets, (weight,), _ = prepare_rows(batch, torch.device("cpu"), non_blocking=False)
    assert (rows.dtype, rows.shape, targets.counts) == (torch.float32, (7, 5), [5, 2])
    assert torch.equal(weight, targets.weight)
    assert targets.label.tolist() == [*first.labels, *second.labels]


def test_a_case_is_preprocessed_on_its_own():
    seen = []

    def preprocessing(listed):
        seen.append(listed["case"])
        return {"image": len(seen), "label": 0}

    cases = FeatureCases([{"case": "b"}, {"case": "c"}], preprocessing, lambda case, image, label: (case, image, label))
    assert seen == [cases[0]["case"], cases[1]["case"]] == ["b", "c"]
    assert [cases[i]["rows"] for i in range(len(cases))] == [("b", 1, 0), ("c", 2, 0)]
