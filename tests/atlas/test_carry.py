import torch

from medssl.atlas.carry import carried_logits, label_of_cells
from medssl.ops.warping import voxel_grid
from tests.atlas.bodies import body


def test_a_scan_carries_its_labels_to_itself():
    _, label = body()
    same = voxel_grid(label.shape[1:])
    logits = carried_logits([label], [same], [torch.zeros(label.shape[1:])], factor=1, num_classes=2)
    torch.testing.assert_close(label_of_cells(logits, label.shape[1:], factor=1).long(), label)


def test_of_two_scans_the_one_that_is_alike_counts():
    size = (4, 4, 4)
    same = voxel_grid(size)
    one, two = torch.ones(1, *size), torch.full((1, *size), 2.0)
    alike, unlike = torch.full(size, 0.1), torch.full(size, 1.0)
    logits = carried_logits([one, two], [same, same], [alike, unlike], factor=1, num_classes=2)
    assert (label_of_cells(logits, size, factor=1) == 1).all()
    logits = carried_logits([one, two], [same, same], [unlike, alike], factor=1, num_classes=2)
    assert (label_of_cells(logits, size, factor=1) == 2).all()


def test_scans_that_are_alike_everywhere_count_the_same():
    size = (2, 2, 2)
    same, cost = voxel_grid(size), torch.zeros(size)
    one, none = torch.ones(1, *size), torch.zeros(1, *size)
    logits = carried_logits([one, one, none], [same] * 3, [cost] * 3, factor=1, num_classes=1)
    torch.testing.assert_close(logits.exp(), torch.full((1, *size), 2.0), rtol=0.01, atol=0)


def test_a_class_that_no_scan_shows_is_nowhere():
    size = (3, 3, 3)
    logits = carried_logits([torch.zeros(1, *size)], [voxel_grid(size)], [torch.zeros(size)], factor=1, num_classes=2)
    assert not label_of_cells(logits, size, factor=1).any()
