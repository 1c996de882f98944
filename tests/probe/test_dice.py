import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric

from medssl.losses.dice_bce import RowTargets
from medssl.probe.dice import RowDice
from medssl.transforms.labels import LogitsToLabeld


def test_dice_of_all_voxels_is_that_of_monai():
    generator = torch.Generator().manual_seed(0)
    metric, monai = RowDice(), DiceMetric(include_background=False, num_classes=4)
    # The second case lacks class 3.
    for num_classes in (4, 3):
        logits = torch.randn(3, 40, generator=generator)
        label = torch.randint(0, num_classes, (40,), generator=generator)
        metric.update((logits.T, RowTargets(label, torch.ones(40), [40])))
        predicted = LogitsToLabeld("pred")({"pred": logits})["pred"]
        monai(predicted[None], label[None, None])
    assert metric.compute() == pytest.approx(monai.aggregate().item(), rel=1e-6)


def test_a_case_without_any_class_does_not_count():
    metric = RowDice()
    metric.update((torch.ones(4, 2), RowTargets(torch.zeros(4, dtype=torch.long), torch.ones(4), [4])))
    assert np.isnan(metric.compute())
