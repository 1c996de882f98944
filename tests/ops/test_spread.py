import pytest
import torch

from medssl.ops.spread import spread


def test_embeddings_of_one_direction_have_none():
    assert spread(torch.arange(1, 5)[:, None] * torch.ones(6)).item() == pytest.approx(0, abs=1e-6)


def test_embeddings_of_all_directions_have_about_one():
    assert spread(torch.randn(5000, 64, generator=torch.Generator().manual_seed(0))).item() == pytest.approx(
        1, abs=0.01
    )


def test_it_is_the_deviation_of_unit_vectors_by_hand():
    rows = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    assert spread(rows).item() == pytest.approx(0.5 * 2**0.5)


def test_it_has_no_gradient():
    assert not spread(torch.rand(4, 3, requires_grad=True)).requires_grad
