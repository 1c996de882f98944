import torch
from pytorch_metric_learning.losses import SupConLoss as Oracle

from medssl.losses.neighbour_contrast import NeighbourContrastLoss

# In the first view the neighbours are 0-1 and 2-3, in the second 0-2 and 1-3.
FIRST = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
SECOND = FIRST[[0, 2, 1, 3]]


def test_each_view_is_contrasted_by_the_components_of_the_other():
    oracle = Oracle(temperature=0.5)
    expected = (oracle(FIRST, torch.tensor([0, 1, 0, 1])) + oracle(SECOND, torch.tensor([0, 0, 1, 1]))) / 2
    torch.testing.assert_close(NeighbourContrastLoss(0.5)(FIRST, SECOND), expected)


def test_views_may_be_exchanged():
    loss = NeighbourContrastLoss(0.5)
    torch.testing.assert_close(loss(FIRST, SECOND), loss(SECOND, FIRST))
