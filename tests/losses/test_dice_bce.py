import numpy as np
import pytest
import torch

from medssl.losses.dice_bce import DiceBCELoss, RowDiceBCELoss, RowTargets


def test_equals_the_formula():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    label = torch.randint(0, 4, (2, 1, 4, 5), generator=generator)
    p = 1 / (1 + np.exp(-logits.double().numpy()))
    t = np.stack([(label[:, 0] == k).numpy().astype(float) for k in (1, 2, 3)], axis=1)
    bce = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    dice = 1 - (2 * (p * t).sum((2, 3)) + 1) / ((p**2).sum((2, 3)) + (t**2).sum((2, 3)) + 1)
    assert DiceBCELoss()(logits, label).item() == pytest.approx(bce + dice.mean(), rel=1e-5)


def test_background_has_no_channel():
    logits = torch.full((1, 1, 4, 4), -30.0)
    assert DiceBCELoss()(logits, torch.zeros(1, 1, 4, 4)).item() == pytest.approx(0, abs=1e-6)


def rows_of(logits, label):
    """Give every voxel of a batch of patches as a row, patch after patch."""
    flat = logits.movedim(1, -1).flatten(1, -2)
    counts = [flat.shape[1]] * len(flat)
    return flat.flatten(0, 1), RowTargets(label.flatten(), torch.ones(label.numel()), counts)


def test_all_voxels_as_rows_have_the_loss_and_gradient_of_the_patches():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 4, 5, generator=generator).requires_grad_()
    label = torch.randint(0, 3, (3, 1, 4, 5), generator=generator)
    losses = DiceBCELoss()(logits, label), RowDiceBCELoss()(*rows_of(logits, label))
    torch.testing.assert_close(losses[1], losses[0])
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in losses]
    torch.testing.assert_close(gradients[1], gradients[0])


def test_a_row_of_weight_2_counts_as_two_voxels():
    generator = torch.Generator().manual_seed(0)
    logits, label = torch.randn(1, 2, 6, generator=generator), torch.tensor([[[0, 1, 1, 2, 0, 2]]])
    weight = torch.tensor([2, 1, 2, 1, 1, 1])
    rows, targets = rows_of(logits, label)
    weighted = RowDiceBCELoss()(rows, targets._replace(weight=weight.float()))
    twice = DiceBCELoss()(logits.repeat_interleave(weight, dim=2), label.repeat_interleave(weight, dim=2))
    torch.testing.assert_close(weighted, twice)
