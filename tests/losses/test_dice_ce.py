import pytest
import torch
from torch.nn import functional as F

from medssl.losses.dice_ce import DiceCELoss


def reference(logits, label):
    """Softmax with a background logit of 0; cross-entropy, and Dice of the foreground over the batch."""
    scores = torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1).exp()
    probability = scores / scores.sum(dim=1, keepdim=True)
    target = torch.stack([(label[:, 0] == k).float() for k in range(scores.shape[1])], dim=1)
    entropy = -(target * probability.log()).sum(dim=1).mean()
    spatial = (0, *range(2, logits.dim()))
    hits = (probability * target).sum(dim=spatial)[1:]
    sizes = (probability + target).sum(dim=spatial)[1:]
    return entropy + (1 - 2 * hits / sizes).mean()


@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 3)])
def test_it_is_the_formula(shape):
    logits = torch.randn(2, 3, *shape)
    label = torch.randint(0, 4, (2, 1, *shape))
    torch.testing.assert_close(DiceCELoss()(logits, label), reference(logits, label), rtol=1e-4, atol=1e-5)


def test_a_voxel_is_background_exactly_where_no_logit_is_above_0():
    logits = torch.tensor([[[[-0.1, 0.1]], [[-3.0, -3.0]]]])
    probability = F.softmax(F.pad(logits, (0, 0, 0, 0, 1, 0)), dim=1)
    assert probability.argmax(dim=1).tolist() == [[[0, 1]]]


def test_a_class_that_is_nowhere_costs_nothing_where_it_is_not_predicted():
    label = torch.zeros(1, 1, 4, 4, dtype=torch.long)
    sure = torch.full((1, 2, 4, 4), -30.0)
    assert DiceCELoss()(sure, label).item() < 1e-3
