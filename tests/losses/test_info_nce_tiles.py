import math

import pytest
import torch
from pytorch_metric_learning.losses import NTXentLoss

from medssl.losses.info_nce import InfoNCELoss, log_sum_of_negatives, plain_info_nce


def exact(z1, z2, temperature):
    """The plain formula in float64: the loss and its gradients."""
    z1, z2 = (z.detach().double().requires_grad_() for z in (z1, z2))
    loss = plain_info_nce(z1, z2, temperature)
    return loss.item(), torch.cat(torch.autograd.grad(loss, (z1, z2)))


def tiled(z1, z2, loss):
    z1, z2 = (z.detach().clone().requires_grad_() for z in (z1, z2))
    value = loss(z1, z2)
    return value.item(), torch.cat(torch.autograd.grad(value, (z1, z2)))


def make_pairs(num_pairs, channels, noise=1.0):
    generator = torch.Generator().manual_seed(num_pairs)
    common = torch.randn(num_pairs, channels, generator=generator)
    return [common + noise * torch.randn(num_pairs, channels, generator=generator) for _ in range(2)]


@pytest.mark.parametrize("block_size", [1, 2, 5, 37, 60, 73])
@pytest.mark.parametrize("temperature", [0.5, 0.1, 0.02, 0.01, 0.005])
def test_loss_and_gradients_are_exact_for_any_tiles(block_size, temperature):
    pairs = make_pairs(37, 16)
    expected, expected_gradient = exact(*pairs, temperature)
    loss, gradient = tiled(*pairs, InfoNCELoss(temperature, block_size))
    assert loss == pytest.approx(expected, rel=1e-6, abs=1e-6)
    scale = expected_gradient.abs().max()
    # Similarities up to 1 / temperature have that many float32 roundings.
    torch.testing.assert_close(gradient / scale, (expected_gradient / scale).float(), rtol=0, atol=3e-7 / temperature)


def test_default_tiles_are_exact():
    pairs = make_pairs(300, 32)
    expected, expected_gradient = exact(*pairs, 0.1)
    loss, gradient = tiled(*pairs, InfoNCELoss(0.1))
    assert loss == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=0, atol=1e-6)


def test_tiles_equal_pytorch_metric_learning():
    pairs = make_pairs(40, 16)
    labels = torch.arange(40).repeat(2)
    expected, expected_gradient = tiled(*pairs, lambda a, b: NTXentLoss(temperature=0.1)(torch.cat([a, b]), labels))
    loss, gradient = tiled(*pairs, InfoNCELoss(0.1, block_size=16))
    assert loss == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.05, 0.005])
def test_a_solved_task_keeps_its_small_loss(temperature):
    # Differences of large sums would round such a loss to zero.
    pairs = make_pairs(37, 8, noise=0.1)
    assert tiled(*pairs, InfoNCELoss(temperature, 8))[0] == pytest.approx(exact(*pairs, temperature)[0], rel=1e-4)


@pytest.mark.parametrize("temperature", [0.1, 0.02, 0.01])
def test_collapsed_embeddings_cost_the_collapse_value(temperature):
    z = torch.ones(30, 8)
    assert InfoNCELoss(temperature, 7)(z, z).item() == pytest.approx(math.log(59), abs=1e-7 / temperature)


@pytest.mark.parametrize("temperature", [0.1, 0.005])
def test_bfloat16_autocast_changes_little(temperature):
    pairs = make_pairs(100, 16)
    expected, expected_gradient = exact(*pairs, temperature)

    def in_bfloat16(z1, z2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return InfoNCELoss(temperature, 32)(z1, z2)

    loss, gradient = tiled(*pairs, in_bfloat16)
    assert loss == pytest.approx(expected, rel=1e-3)
    error = (gradient.double() - expected_gradient).norm() / expected_gradient.norm()
    assert error < 1e-2


def test_float16_autocast_multiplies_in_float32():
    pairs = make_pairs(40, 16)
    with torch.autocast("cpu", dtype=torch.float16):
        loss, gradient = tiled(*pairs, InfoNCELoss(0.1, 16))
    expected, expected_gradient = tiled(*pairs, InfoNCELoss(0.1, 16))
    assert loss == expected
    assert torch.equal(gradient, expected_gradient)


def test_half_of_the_rows_can_be_constant():
    z1, z2 = make_pairs(20, 8)
    z1.requires_grad_()
    InfoNCELoss(0.1, 8)(z1, z2).backward()
    expected = exact(z1, z2, 0.1)[1][:20]
    torch.testing.assert_close(z1.grad.double(), expected, rtol=0, atol=1e-6)


def test_tiles_cannot_be_differentiated_twice():
    pairs = [z.requires_grad_() for z in make_pairs(20, 8)]
    (gradient, _) = torch.autograd.grad(InfoNCELoss(0.1, 8)(*pairs), pairs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_no_row_is_its_own_or_its_partners_negative():
    z = torch.eye(6).repeat(2, 1) * 5
    torch.testing.assert_close(log_sum_of_negatives(z, 25.0, 5), torch.full((12,), math.log(10)))


def test_tiles_need_no_memory_for_the_matrix():
    # The matrix of 2 x 500 rows would be 3.8 MiB; a tile is 64 KiB, the rows are 16 KiB.
    pairs = [z.requires_grad_() for z in make_pairs(500, 4)]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        InfoNCELoss(0.1, 128)(*pairs).backward()
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert 2**16 <= largest < 2**17


@pytest.mark.parametrize("block_size", [0, -1])
def test_block_size_must_be_above_zero(block_size):
    with pytest.raises(ValueError, match="block_size must be above 0"):
        InfoNCELoss(0.1, block_size)
