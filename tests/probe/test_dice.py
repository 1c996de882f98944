import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric

from medssl.losses.dice_bce import RowTargets
from medssl.networks.heads import LinearHead
from medssl.probe.dice import RowDice, head_dice
from medssl.probe.rows import VoxelRows
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


def test_dice_of_a_head_is_by_class_and_over_the_cases_that_show_it():
    head = LinearHead(2, level_channels=(1,), num_classes=2)
    with torch.no_grad():
        head.convs[0].weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
        head.convs[0].bias.zero_()
    # Class 1 where the feature is positive, class 2 where it is negative.
    both = VoxelRows(np.float16([[1], [1], [-1]]), np.array([1, 0, 2]), np.float32([1, 2, 1]), np.array([3]))
    one = VoxelRows(np.float16([[1], [0]]), np.array([1, 0]), np.float32([1, 1]), np.array([2]))
    assert head_dice(head, [both, one], ["a", "b"]) == {"a": pytest.approx((2 / 4 + 1) / 2), "b": 1.0}
    assert head_dice(head, [one], ["a", "b"]) == {"a": 1.0, "b": None}
