import numpy as np
import pytest
import torch

from medssl.losses.dice_bce import DiceBCELoss
from medssl.networks.heads import LinearHead
from medssl.probe.fit import fit_linear_probe
from medssl.probe.rows import VoxelRows


def rows_of_classes(num_rows=60, seed=0):
    """Give rows whose first two features say the class, among noise, all of one patch."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, num_rows)
    features = rng.normal(size=(num_rows, 4)).astype(np.float32)
    features[:, :2] += 4 * np.eye(3)[labels][:, 1:]
    return VoxelRows(features.astype(np.float16), labels, np.ones(num_rows, np.float32), np.array([num_rows]))


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
