import pytest
import torch
from torch.nn import functional as F

from medssl.losses.queue_contrast import QueueContrastLoss, queue_collapse_value


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 6, 8, generator=generator)
    return query, key, F.normalize(torch.randn(20, 8, generator=generator), dim=1)


def by_hand(query, key, queue, temperature):
    """Equation 1 of He et al. (2020), one query after another, in float64."""
    costs = []
    for q, k in zip(query.double(), key.double(), strict=True):
        q, k = q / q.norm(), k / k.norm()
        scores = torch.stack([q @ k, *(q @ row for row in queue.double())]).div(temperature).exp()
        costs.append(-torch.log(scores[0] / scores.sum()))
    return torch.stack(costs).mean()


@pytest.mark.parametrize("temperature", [1.0, 0.2, 0.07, 0.01])
def test_loss_is_that_of_the_equation(rows, temperature):
    expected = by_hand(*rows, temperature).float()
    torch.testing.assert_close(QueueContrastLoss(temperature)(*rows), expected)


def test_gradient_is_that_of_the_equation(rows):
    query, key, queue = rows
    query.requires_grad_()
    (expected,) = torch.autograd.grad(by_hand(query, key, queue, 0.2), query)
    (actual,) = torch.autograd.grad(QueueContrastLoss(0.2)(query, key, queue), query)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("products", [1, 45, 60, 119])
def test_blocks_of_queries_change_nothing(rows, products, monkeypatch):
    # The queue has 20 rows: one, two, three and five queries a block, of six.
    query, key, queue = rows
    query.requires_grad_()
    expected = by_hand(query, key, queue, 0.2)
    monkeypatch.setattr("medssl.losses.queue_contrast._PRODUCTS", products)
    loss = QueueContrastLoss(0.2)(query, key, queue)
    torch.testing.assert_close(loss, expected.float())
    for actual, wanted in zip(
        torch.autograd.grad(2 * loss, query), torch.autograd.grad(2 * expected, query), strict=True
    ):
        torch.testing.assert_close(actual, wanted)


def test_keys_and_queue_get_no_gradient(rows):
    query, key, queue = (row.requires_grad_() for row in rows)
    QueueContrastLoss(0.2)(query, key, queue).backward()
    assert query.grad is not None and key.grad is None and queue.grad is None


def test_equal_embeddings_cost_the_collapse_value():
    rows = F.normalize(torch.ones(20, 8), dim=1)
    loss = QueueContrastLoss(0.2)(rows[:6], rows[:6], rows)
    assert loss.item() == pytest.approx(queue_collapse_value(20), rel=1e-6)


def test_tiny_temperature_stays_finite(rows):
    assert torch.isfinite(QueueContrastLoss(0.001)(*rows))


def test_autocast_does_not_change_the_value(rows):
    expected = QueueContrastLoss(0.2)(*rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(QueueContrastLoss(0.2)(*rows), expected)


def test_rows_that_do_not_fit_together_are_refused(rows):
    query, key, queue = rows
    for wrong in [(query, key[:3], queue), (query, key, queue[:, :4]), (query[None], key[None], queue)]:
        with pytest.raises(ValueError, match=r"shape \(N, C\)"):
            QueueContrastLoss(0.2)(*wrong)


def test_temperature_must_be_above_zero():
    with pytest.raises(ValueError, match="temperature must be above 0"):
        QueueContrastLoss(0.0)
