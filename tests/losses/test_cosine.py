import pytest
import torch

from medssl.losses.cosine import CosineLoss


@pytest.fixture
def rows():
    return torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))


def test_loss_is_the_mean_squared_distance_of_unit_vectors(rows):
    p, z = rows / rows.norm(dim=2, keepdim=True)
    torch.testing.assert_close(CosineLoss()(*rows), (p - z).square().sum(dim=1).mean())


def test_target_gets_no_gradient(rows):
    prediction, target = (row.clone().requires_grad_() for row in rows)
    CosineLoss()(prediction, target).backward()
    assert prediction.grad is not None and target.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_inputs_are_summed_in_float32(rows, dtype):
    low = rows.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = CosineLoss()(*low)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, CosineLoss()(*low.float()))


def test_rows_of_different_shape_are_refused(rows):
    with pytest.raises(ValueError, match=r"one shape \(N, C\)"):
        CosineLoss()(rows[0], rows[1, :3])
