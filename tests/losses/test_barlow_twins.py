import numpy as np
import pytest
import torch
from torch import nn

from medssl.losses.barlow_twins import BarlowTwinsLoss, cross_correlation

RANDOM = np.random.default_rng(0)


def pair(rows=40, channels=6):
    z = RANDOM.normal(size=(rows, channels)) * RANDOM.uniform(0.5, 3, channels) + 1
    return torch.from_numpy(z).float(), torch.from_numpy(z + RANDOM.normal(size=z.shape)).float()


def reference(z1, z2, weight):
    """Equation 1 of the paper, sum by sum."""
    a, b = ((z.numpy().astype(float) - z.numpy().mean(0)) for z in (z1, z2))
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            c = (a[:, i] * b[:, j]).sum() / np.sqrt((a[:, i] ** 2).sum() * (b[:, j] ** 2).sum())
            total += (1 - c) ** 2 if i == j else weight * c**2
    return total


@pytest.mark.parametrize("weight", [5e-3, 0.0051, 1.0])
def test_loss_is_that_of_the_paper(weight):
    z1, z2 = pair()
    assert BarlowTwinsLoss(weight)(z1, z2).item() == pytest.approx(reference(z1, z2, weight), rel=1e-4)


def test_correlation_is_that_of_two_batch_norms_without_parameters():
    z1, z2 = pair()
    norm = nn.BatchNorm1d(6, affine=False)
    torch.testing.assert_close(cross_correlation(z1, z2), norm(z1).T @ norm(z2) / len(z1))


def test_loss_is_symmetric():
    z1, z2 = pair()
    torch.testing.assert_close(BarlowTwinsLoss()(z1, z2), BarlowTwinsLoss()(z2, z1))


def test_loss_ignores_scale_and_offset_of_a_channel():
    z1, z2 = pair()
    torch.testing.assert_close(BarlowTwinsLoss()(z1 * 7 - 2, z2), BarlowTwinsLoss()(z1, z2), rtol=1e-3, atol=1e-4)


def test_loss_is_the_weighted_sum_of_its_terms():
    loss, (z1, z2) = BarlowTwinsLoss(0.1), pair()
    terms = loss.terms(z1, z2)
    torch.testing.assert_close(loss(z1, z2), terms["invariance"] + 0.1 * terms["redundancy"])


def test_equal_uncorrelated_views_cost_next_to_nothing():
    z = torch.linalg.qr(torch.randn(50, 7) - 0.0).Q
    z = torch.linalg.qr(z - z.mean(0)).Q * 50**0.5
    assert BarlowTwinsLoss()(z, z) < 1e-3


def test_embeddings_that_are_all_equal_cost_the_number_of_channels():
    assert BarlowTwinsLoss()(torch.ones(9, 5), torch.ones(9, 5)).item() == pytest.approx(5)


def test_gradient_is_that_of_finite_differences():
    z1, z2 = (z.double().requires_grad_() for z in pair(8, 3))
    z1.grad = None
    BarlowTwinsLoss()(z1, z2).backward()
    step = torch.zeros_like(z1)
    step[2, 1] = 1e-2
    with torch.no_grad():
        slope = (BarlowTwinsLoss()(z1 + step, z2) - BarlowTwinsLoss()(z1 - step, z2)) / 2e-2
    assert z1.grad[2, 1].item() == pytest.approx(slope.item(), rel=0.02)


def test_autocast_changes_nothing():
    z1, z2 = pair()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = BarlowTwinsLoss()(z1, z2)
    torch.testing.assert_close(mixed, BarlowTwinsLoss()(z1, z2))


def test_one_pair_is_refused():
    with pytest.raises(ValueError, match="pairs_per_batch or num_voxels"):
        BarlowTwinsLoss()(torch.zeros(1, 4), torch.zeros(1, 4))


def test_embeddings_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(4, 2\)"):
        BarlowTwinsLoss()(torch.zeros(4, 3), torch.zeros(4, 2))
