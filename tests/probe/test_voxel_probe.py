import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric

from medssl.losses.dice_bce import DiceBCELoss, RowTargets
from medssl.networks.heads import LinearHead
from medssl.probe.voxel_features import VoxelRows, collate_volumes
from medssl.probe.voxel_probe import RowDice, fit_linear_probe, prepare_rows
from medssl.transforms.labels import LogitsToLabeld


def rows_of_classes(num_rows=60, seed=0):
    """Give rows whose first two features say the class, among noise, all of one patch."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, num_rows)
    features = rng.normal(size=(num_rows, 4)).astype(np.float32)
    features[:, :2] += 4 * np.eye(3)[labels][:, 1:]
    return VoxelRows(features.astype(np.float16), labels, np.ones(num_rows, np.float32), np.array([num_rows]))


def test_dice_of_all_voxels_is_that_of_monai():
    generator = torch.Generator().manual_seed(0)
    metric, monai = RowDice(), DiceMetric(include_background=False, num_classes=4)
    # The second case lacks class 3.
    for num_classes in (4, 3):
        logits = torch.randn(3, 40, generator=generator)
        label = torch.randint(0, num_classes, (40,), generator=generator)
        metric.update((logits.T, RowTargets(label, torch.ones(40), [40])))
        predicted = LogitsToLabeld("pred")({"pred": logits})["pred"]
        monai(predicted[None], label[None, None])
    assert metric.compute() == pytest.approx(monai.aggregate().item(), rel=1e-6)


def test_a_case_without_any_class_does_not_count():
    metric = RowDice()
    metric.update((torch.ones(4, 2), RowTargets(torch.zeros(4, dtype=torch.long), torch.ones(4), [4])))
    assert np.isnan(metric.compute())


def test_rows_reach_the_network_as_float32_with_their_patches():
    first, second = rows_of_classes(5), rows_of_classes(3, seed=1)
    batch = collate_volumes([{"case": "a", "rows": first}, {"case": "b", "rows": second}])
    rows, targets, (weight,), _ = prepare_rows(batch, torch.device("cpu"), non_blocking=False)
    assert (rows.dtype, rows.shape, targets.counts) == (torch.float32, (8, 4), [5, 3])
    assert torch.equal(weight, targets.weight)
    assert targets.label.tolist() == [*first.labels, *second.labels]


@pytest.mark.parametrize("standardize", [False, True])
def test_the_fit_is_that_of_the_head_on_all_voxels_of_the_patch(standardize):
    case = rows_of_classes()
    torch.manual_seed(0)
    head = LinearHead(2, (4,), num_classes=2, standardize=standardize)
    dense = LinearHead(2, (4,), num_classes=2, standardize=standardize).train()
    dense.load_state_dict(head.state_dict())
    fit_linear_probe(head, [case], num_steps=20, learning_rate=0.05, patches_per_batch=2)
    optimizer = torch.optim.Adam(dense.parameters(), lr=0.05)
    image = torch.from_numpy(case.features).float().T.reshape(1, 4, 6, 10).repeat(2, 1, 1, 1)
    label = torch.from_numpy(case.labels).reshape(1, 1, 6, 10).repeat(2, 1, 1, 1)
    for _ in range(20):
        optimizer.zero_grad()
        DiceBCELoss()(dense([image]), label).backward()
        optimizer.step()
    for name, value in dense.state_dict().items():
        torch.testing.assert_close(head.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_head():
    cases = [rows_of_classes(seed=seed) for seed in range(3)]
    cases = [case._replace(counts=np.array([20, 30, 10])) for case in cases]
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        head = fit_linear_probe(LinearHead(2, (4,), 2), cases, 5, 0.1, patches_per_batch=2, seed=seed)
        weights.append(head.convs[0].weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_what_cannot_be_fitted_is_said():
    head = LinearHead(2, (4,), num_classes=2)
    with pytest.raises(ValueError, match="no cases to train on"):
        fit_linear_probe(head, [], 5, 0.1)
    case = rows_of_classes()
    broken = case._replace(features=np.full_like(case.features, np.inf))
    with pytest.raises(FloatingPointError, match="loss of step 1"):
        fit_linear_probe(head, [broken], 5, 0.1)
