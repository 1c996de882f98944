import pytest
import torch
from pytorch_metric_learning.losses import NTXentLoss
from pytorch_metric_learning.losses import SupConLoss as Oracle

from medssl.losses.supervised_contrast import SupConLoss, supcon_collapse_value


def rows_of(num_rows, channels=5, seed=0):
    return torch.randn(num_rows, channels, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
def test_with_labels_it_is_that_of_pytorch_metric_learning(temperature):
    z, labels = rows_of(30), torch.arange(30) % 7
    expected = Oracle(temperature=temperature)(z, labels)
    torch.testing.assert_close(SupConLoss(temperature)(z, labels), expected)


def test_rows_without_a_positive_are_left_out():
    z, labels = rows_of(6), torch.tensor([0, 0, 1, 2, 2, 3])
    torch.testing.assert_close(SupConLoss(0.1)(z, labels), Oracle(temperature=0.1)(z, labels))


def test_a_mask_need_not_come_from_labels():
    z, mask = rows_of(6), torch.rand(6, 6, generator=torch.Generator().manual_seed(1)) < 0.4
    units = torch.nn.functional.normalize(z.double(), dim=1)
    costs = []
    for i in range(6):
        others = [j for j in range(6) if j != i]
        total = sum(torch.exp(units[i] @ units[j] / 0.2) for j in others)
        terms = [-torch.log(torch.exp(units[i] @ units[j] / 0.2) / total) for j in others if mask[i, j]]
        costs += [sum(terms) / len(terms)] if terms else []
    torch.testing.assert_close(SupConLoss(0.2)(z, mask), (sum(costs) / len(costs)).float())


def test_with_one_positive_each_it_is_nt_xent():
    z, labels = rows_of(10), torch.arange(5).repeat(2)
    torch.testing.assert_close(SupConLoss(0.1)(z, labels), NTXentLoss(0.1)(z, labels))


def test_the_gradient_is_that_of_pytorch_metric_learning():
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    gradients = []
    for loss in (SupConLoss(0.1), Oracle(temperature=0.1)):
        z = rows_of(6).requires_grad_()
        loss(z, labels).backward()
        gradients.append(z.grad)
    torch.testing.assert_close(*gradients)


def test_without_any_positive_it_is_zero_and_can_be_differentiated():
    z = rows_of(3).requires_grad_()
    loss = SupConLoss(0.1)(z, torch.arange(3))
    loss.backward()
    assert loss == 0 and torch.equal(z.grad, torch.zeros_like(z))


def test_equal_embeddings_cost_the_collapse_value():
    loss = SupConLoss(0.1)(torch.ones(50, 4), torch.arange(50) % 5)
    assert loss.item() == pytest.approx(supcon_collapse_value(50))


def test_it_is_computed_in_float32_under_autocast():
    z, labels = rows_of(8), torch.arange(8) % 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = SupConLoss(0.01)(z, labels)
    assert torch.equal(loss, SupConLoss(0.01)(z, labels))


def test_half_precision_at_a_low_temperature_stays_finite():
    z = rows_of(8).half().requires_grad_()
    loss = SupConLoss(0.001)(z, torch.arange(8) % 2)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()


@pytest.mark.parametrize(
    ("z", "positives", "message"),
    [
        (torch.zeros(1, 3), torch.zeros(1), r"N > 1, got \(1, 3\)"),
        (torch.zeros(4, 3), torch.zeros(3), "4 embeddings need as many labels"),
        (torch.zeros(4, 3), torch.zeros(4, 4), "or a bool mask of each with each"),
    ],
)
def test_what_does_not_fit_is_refused(z, positives, message):
    with pytest.raises(ValueError, match=message):
        SupConLoss(0.1)(z, positives)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        SupConLoss(0)
