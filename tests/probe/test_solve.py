import numpy as np
import pytest
import torch

from medssl.probe.rows import VoxelRows
from medssl.probe.solve import foreground_map, solve, standardised


def case_of_classes(num_rows=80, seed=0, noise=1.0):
    """Rows of three classes that their first two features tell apart, among noise and a constant feature."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, num_rows)
    features = rng.normal(scale=noise, size=(num_rows, 5)).astype(np.float32)
    features[:, :2] += 2 * np.eye(3)[labels][:, 1:]
    features[:, 2] = 100 + 50 * features[:, 2]
    features[:, 4] = 7
    return VoxelRows(features, labels, rng.uniform(1, 3, num_rows).astype(np.float32), np.array([num_rows]))


def loss_by_formula(weights, cases, l2):
    """The loss of the solver in NumPy, from the formulas: cross-entropy, soft Dice and penalty, every case alike."""
    x = np.concatenate([rows.features for rows in cases]).astype(float)
    share = np.concatenate([rows.weights / rows.weights.sum() / len(cases) for rows in cases]).astype(float)
    label = np.concatenate([rows.labels for rows in cases])
    mean = share @ x
    deviation = np.sqrt(share @ (x - mean) ** 2)
    z = (x - mean) / np.where(deviation > 0, deviation, 1) @ weights[:, :-1].T + weights[:, -1]
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    dice = []
    for value in range(1, len(weights)):
        t = label == value
        if t.any():
            dice.append(2 * (share * p[:, value] * t).sum() / ((share * p[:, value] ** 2).sum() + share[t].sum()))
    entropy = -(share * np.log(p[np.arange(len(p)), label])).sum()
    return entropy + 1 - np.mean(dice) + l2 / 2 * np.square(weights[:, :-1]).sum()


def test_the_solution_is_a_minimum_of_the_loss():
    cases = [case_of_classes(seed=0), case_of_classes(num_rows=30, seed=1)]
    voxels, _ = standardised(cases)
    solution = solve(voxels, num_classes=2, l2=1e-2, tolerance=1e-5)
    assert solution.converged and solution.gradient_norm <= 1e-5
    weights = solution.weights.numpy()
    assert loss_by_formula(weights, cases, 1e-2) == pytest.approx(solution.loss, abs=1e-4)
    rng = np.random.default_rng(0)
    for size in (0.03, 0.3):
        for _ in range(20):
            assert loss_by_formula(weights + rng.normal(scale=size, size=weights.shape), cases, 1e-2) > solution.loss


def test_features_are_standardised_by_the_voxels_that_the_rows_stand_for():
    cases = [case_of_classes(seed=seed) for seed in range(3)]
    voxels, standardisation = standardised(cases)
    share = voxels.weights.float()
    np.testing.assert_allclose(voxels.features @ share, 0, atol=1e-5)
    np.testing.assert_allclose(voxels.features.square() @ share, [1, 1, 1, 1, 0], atol=1e-5)
    assert standardisation.mean[4] == pytest.approx(7)
    assert voxels.cases.bincount().tolist() == [80] * 3


def test_a_row_of_weight_2_counts_as_two_rows():
    once = case_of_classes(num_rows=40)._replace(weights=np.repeat([1.0, 2.0], 20).astype(np.float32))
    order = np.r_[np.arange(40), np.arange(20, 40)]
    twice = VoxelRows(once.features[order], once.labels[order], np.ones(60, np.float32), np.array([60]))
    weighted, repeated = (solve(standardised([case])[0], 2, 1e-2, tolerance=1e-6) for case in (once, twice))
    np.testing.assert_allclose(weighted.weights, repeated.weights, atol=1e-3)


def test_the_scale_of_a_feature_does_not_matter():
    case = case_of_classes()
    scaled = case._replace(features=case.features * np.float32([1, 1e3, 1, 1e-3, 1]))
    first, second = (solve(standardised([rows])[0], 2, 1e-2, tolerance=1e-6) for rows in (case, scaled))
    np.testing.assert_allclose(first.weights, second.weights, atol=1e-3)


def test_one_logit_a_class_on_the_raw_features_predicts_what_the_softmax_predicts():
    case = case_of_classes(num_rows=300)
    voxels, standardisation = standardised([case])
    solution = solve(voxels, num_classes=2, l2=1e-3)
    kernel, bias = foreground_map(solution, standardisation)
    highest, channel = (torch.from_numpy(case.features).double() @ kernel.T + bias).max(dim=1)
    predicted = torch.where(highest > 0, channel + 1, 0)
    assert torch.equal(predicted, solution.predict(voxels.features))
    assert predicted.bincount().min() > 30


def test_a_stronger_penalty_gives_smaller_weights():
    voxels, _ = standardised([case_of_classes()])
    sizes = [solve(voxels, 2, l2).weights[:, :-1].square().sum().item() for l2 in (1e-4, 1e-2, 1.0)]
    assert sizes == sorted(sizes, reverse=True)


def test_a_start_nearby_needs_fewer_evaluations():
    voxels, _ = standardised([case_of_classes()])
    cold = solve(voxels, 2, 1e-2)
    warm = solve(voxels, 2, 1e-2, start=cold.weights)
    assert warm.num_evaluations < cold.num_evaluations / 2


def test_too_few_evaluations_are_told():
    voxels, _ = standardised([case_of_classes()])
    solution = solve(voxels, 2, 1e-4, max_evaluations=3)
    assert not solution.converged and solution.gradient_norm > 1e-4


def test_every_evaluation_is_reported():
    voxels, _ = standardised([case_of_classes()])
    seen = []
    solution = solve(voxels, 2, 1e-2, watch=lambda *values: seen.append(values))
    assert len(seen) == solution.num_evaluations
    assert seen[-1][0] < seen[0][0] / 2
    assert seen[-1] == pytest.approx((solution.loss, solution.gradient_norm))


def test_features_that_are_nearly_alike_take_few_evaluations():
    case = case_of_classes(num_rows=400)
    rng = np.random.default_rng(0)
    alike = (case.features[:, :2] @ rng.normal(size=(2, 40)) + 0.03 * rng.normal(size=(400, 40))).astype(np.float32)
    voxels, _ = standardised([case._replace(features=alike)])
    solution = solve(voxels, 2, 1e-4)
    # 61 where the search runs in the weights themselves.
    assert solution.converged and solution.num_evaluations < 30
