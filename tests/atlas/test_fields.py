import torch

from medssl.atlas.fields import displaced, made_consistent, pooled, read_at, resized, smoothed
from medssl.ops.warping import voxel_grid


def test_a_linear_volume_is_read_exactly_between_voxels():
    places = voxel_grid((5, 6, 7))
    volume = (places @ torch.tensor([1.0, 10.0, 100.0]))[None]
    positions = torch.rand(3, 3, 3, 3) * torch.tensor([4.0, 5.0, 6.0])
    torch.testing.assert_close(read_at(volume, positions)[0], positions @ torch.tensor([1.0, 10.0, 100.0]))


def test_fields_that_are_inverses_stay_as_they_are():
    forth = torch.zeros(3, 8, 8, 8)
    forth[0] = 1.5
    torch.testing.assert_close(made_consistent(forth, -forth), (forth, -forth))


def test_fields_that_contradict_each_other_come_together():
    forth, back = smoothed(torch.randn(3, 10, 10, 10)) * 3, smoothed(torch.randn(3, 10, 10, 10)) * 3
    forth, back = made_consistent(forth, back)
    there_and_back = read_at(back, displaced(forth)) + forth
    assert there_and_back.abs().mean() < 0.05


def test_a_field_on_a_finer_grid_points_to_the_same_places():
    coarse = torch.full((3, 4, 4, 4), 2.0)
    assert (resized(coarse, (8, 12, 4)).amax(dim=(1, 2, 3)) == torch.tensor([4.0, 6.0, 2.0])).all()


def test_boxes_are_never_larger_than_the_volume():
    assert pooled(torch.ones(1, 8, 8, 1), 4).shape == (1, 2, 2, 1)
