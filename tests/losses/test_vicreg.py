import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses

from medssl.losses.vicreg import VICRegLoss, covariance_term, variance_term


def make_pairs(count, channels):
    return 0.5 * torch.randn(2, count, channels, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize(("count", "channels"), [(16, 5), (5, 16), (8, 8)], ids=["tall", "wide", "square"])
def test_loss_and_gradient_equal_pytorch_metric_learning(count, channels):
    z1, z2 = (z.requires_grad_() for z in make_pairs(count, channels).unbind())
    expected = losses.VICRegLoss()(z1, ref_emb=z2)
    loss = VICRegLoss()(z1, z2)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, (z1, z2)), torch.autograd.grad(expected, (z1, z2)))


@pytest.mark.parametrize(("count", "channels"), [(16, 5), (5, 16)], ids=["tall", "wide"])
def test_covariance_is_the_mean_of_numpys_off_the_diagonal(count, channels):
    z = make_pairs(count, channels)[0].double()
    matrix = np.cov(z.numpy(), rowvar=False)
    expected = (matrix**2)[~np.eye(channels, dtype=bool)].sum() / channels
    assert covariance_term(z).item() == pytest.approx(expected)


def test_variance_is_a_hinge_on_the_deviation_of_each_channel():
    z = torch.tensor([[0.0, 0.0, 5.0], [1.0, 0.0, -5.0]])
    deviations = [np.sqrt(0.5 + 1e-4), np.sqrt(1e-4)]
    assert variance_term(z).item() == pytest.approx(sum(1 - d for d in deviations) / 3)


def test_loss_is_the_weighted_sum_of_its_terms():
    loss, (z1, z2) = VICRegLoss(invariance=2.0, variance=3.0, covariance=5.0), make_pairs(8, 4)
    terms = loss.terms(z1, z2)
    expected = 2 * terms["invariance"] + 3 * terms["variance"] + 5 * terms["covariance"]
    torch.testing.assert_close(loss(z1, z2), expected)


def test_is_symmetric_in_the_views():
    z1, z2 = make_pairs(8, 4)
    torch.testing.assert_close(VICRegLoss()(z1, z2), VICRegLoss()(z2, z1))


def test_equal_embeddings_have_a_gradient():
    z = torch.ones(4, 8, requires_grad=True)
    VICRegLoss()(z, z).backward()
    assert torch.isfinite(z.grad).all()


def test_autocast_does_not_change_the_value():
    z1, z2 = make_pairs(8, 16)
    expected = VICRegLoss()(z1, z2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(VICRegLoss()(z1, z2), expected)


def test_a_single_pair_is_refused():
    with pytest.raises(ValueError, match="pairs_per_batch"):
        VICRegLoss()(torch.zeros(1, 4), torch.zeros(1, 4))


def test_views_of_different_shape_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        VICRegLoss()(torch.zeros(3, 4), torch.zeros(4, 4))
