import pytest
import torch

from medssl.networks.mlp import MLP


def test_hidden_layers_have_batch_norm_and_the_last_is_linear():
    names = [type(layer).__name__ for layer in MLP(4, [8, 6], 3)]
    assert names == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]


def test_final_norm_standardises_the_embeddings():
    z = MLP(4, [8], 3, final_norm=True)(torch.rand(50, 4))
    torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(0, unbiased=False), torch.ones(3), atol=1e-2, rtol=0)


def test_a_single_vector_is_refused_in_training_only():
    network = MLP(4, [8], 3)
    with pytest.raises(ValueError, match="pairs_per_batch to 2 or more"):
        network(torch.rand(1, 4))
    assert network.eval()(torch.rand(1, 4)).shape == (1, 3)


def test_without_hidden_layers_a_single_vector_is_welcome():
    assert MLP(4, [], 3)(torch.rand(1, 4)).shape == (1, 3)
