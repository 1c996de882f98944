import pytest
import torch

from medssl.networks.pooling import GlobalMean


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_it_is_the_mean_of_the_coarsest_level(spatial_dims):
    level = torch.rand(2, 5, *(3, 4, 2)[:spatial_dims])
    expected = level.mean(dim=tuple(range(2, 2 + spatial_dims)))
    torch.testing.assert_close(GlobalMean()([torch.rand(2, 3, 8, 8), level]), expected)
