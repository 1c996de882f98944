import pytest
import torch

from medssl.atlas.discrete import coupled_displacements, match_costs, offsets
from medssl.atlas.fields import smoothed


@pytest.fixture
def features():
    return smoothed(torch.randn(6, 16, 16, 16)) * 3


def test_the_cost_of_a_displacement_is_that_of_the_shifted_features(features):
    costs = match_costs(features, features, reach=2)
    number = offsets(2).tolist().index([1.0, -2.0, 0.0])
    shifted = features.roll((-1, 2, 0), dims=(1, 2, 3))
    torch.testing.assert_close(costs[number, 2:-2, 2:-2], (features - shifted).square().mean(0)[2:-2, 2:-2])


def test_a_shift_is_found(features):
    moving = features.roll((2, -1, 0), dims=(1, 2, 3))
    found = coupled_displacements(match_costs(features, moving, reach=3), reach=3)
    assert (found[:, 4:-4, 4:-4, 4:-4] - torch.tensor([2.0, -1.0, 0.0]).view(3, 1, 1, 1)).abs().mean() < 0.2


def test_displacements_are_smooth_where_the_features_are_noise():
    fixed, moving = torch.rand(4, 10, 10, 10), torch.rand(4, 10, 10, 10)
    costs = match_costs(fixed, moving, reach=2)
    best = offsets(2)[costs.flatten(1).argmin(0)].T.reshape(3, 10, 10, 10)
    assert coupled_displacements(costs, 2).diff(dim=1).abs().mean() < 0.1 * best.diff(dim=1).abs().mean()
