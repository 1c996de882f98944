import math

import numpy as np
import pytest
import torch
from monai.losses import ContrastiveLoss
from pytorch_metric_learning.losses import NTXentLoss

from medssl.losses.info_nce import InfoNCELoss, collapse_value, plain_info_nce


def brute_force(z1, z2, temperature):
    """Equation 1 of Kats et al. (2024) as nested loops in float64, mean over the anchors of both views."""
    views = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1.double().numpy(), z2.double().numpy())]
    n = len(z1)
    total = 0.0
    for k in (0, 1):
        for i in range(n):
            positive = math.exp(views[k][i] @ views[1 - k][i] / temperature)
            negatives = sum(
                math.exp(views[k][i] @ views[v][j] / temperature) for j in range(n) if j != i for v in (0, 1)
            )
            total -= math.log(positive / (positive + negatives))
    return total / (2 * n)


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 16, generator=generator), torch.randn(12, 16, generator=generator)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 0.5])
def test_the_plain_formula_equals_nested_loops(pairs, temperature):
    loss = plain_info_nce(*(z.double() for z in pairs), temperature).item()
    assert loss == pytest.approx(brute_force(*pairs, temperature), rel=1e-12)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5])
def test_equals_the_formula(pairs, temperature):
    loss = InfoNCELoss(temperature)(*pairs).item()
    assert loss == pytest.approx(brute_force(*pairs, temperature), rel=1e-6)


def test_equals_pytorch_metric_learning(pairs):
    labels = torch.arange(12).repeat(2)
    expected = NTXentLoss(temperature=0.1)(torch.cat(pairs), labels)
    assert InfoNCELoss(0.1)(*pairs).item() == pytest.approx(expected.item(), rel=1e-6)


def test_equals_monai_contrastive_loss(pairs):
    expected = ContrastiveLoss(temperature=0.5)(*pairs)
    assert InfoNCELoss(0.5)(*pairs).item() == pytest.approx(expected.item(), rel=1e-5)


def test_is_symmetric_in_the_views(pairs):
    z1, z2 = pairs
    torch.testing.assert_close(InfoNCELoss(0.1)(z1, z2), InfoNCELoss(0.1)(z2, z1))


def test_does_not_depend_on_the_length_of_the_embeddings(pairs):
    z1, z2 = pairs
    torch.testing.assert_close(InfoNCELoss(0.1)(z1, z2), InfoNCELoss(0.1)(7 * z1, 0.1 * z2))


def test_gradient_equals_numerical_gradient(pairs):
    z1, z2 = (z[:4, :3].double().requires_grad_() for z in pairs)
    assert torch.autograd.gradcheck(lambda a, b: plain_info_nce(a, b, 0.5), (z1, z2))
    # The loss itself works in float32, so its gradient is checked against that of the formula in float64.
    expected = torch.autograd.grad(plain_info_nce(z1, z2, 0.5), (z1, z2))
    actual = torch.autograd.grad(InfoNCELoss(0.5)(z1, z2), (z1, z2))
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_inputs_are_summed_in_float32(pairs, dtype):
    z1, z2 = (z.to(dtype) for z in pairs)
    loss = InfoNCELoss(0.01)(z1, z2)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(InfoNCELoss(0.01)(z1.float(), z2.float()).item(), rel=1e-6)


def test_tiny_temperature_stays_finite(pairs):
    assert torch.isfinite(InfoNCELoss(0.001)(*pairs))


def test_autocast_does_not_change_the_value(pairs):
    expected = InfoNCELoss(0.1)(*pairs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(InfoNCELoss(0.1)(*pairs), expected)


def test_collapsed_embeddings_cost_the_collapse_value():
    z = torch.ones(10, 8)
    assert InfoNCELoss(0.1)(z, z).item() == pytest.approx(collapse_value(10), rel=1e-6)


@pytest.mark.parametrize(
    ("shape_1", "shape_2"), [((1, 8), (1, 8)), ((4, 8), (5, 8)), ((2, 4, 8), (2, 4, 8))], ids=["one", "unequal", "3d"]
)
def test_wrong_shapes_are_refused(shape_1, shape_2):
    with pytest.raises(ValueError, match=r"shape \(N, C\)"):
        InfoNCELoss(0.1)(torch.zeros(shape_1), torch.zeros(shape_2))


def test_temperature_must_be_above_zero():
    with pytest.raises(ValueError, match="temperature must be above 0"):
        InfoNCELoss(0.0)
