import numpy as np
import pytest
import torch

from medssl.losses.dice_bce import DiceBCELoss


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
