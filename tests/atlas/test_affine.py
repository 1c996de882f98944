import torch

from medssl.atlas.affine import affine_of_displacements, box_affine, joined, moved_by
from medssl.ops.warping import voxel_grid


def test_an_affine_map_is_found_although_a_fifth_of_the_displacements_are_wrong():
    affine = torch.tensor([[1.1, 0.05, 0.0, 2.0], [0.0, 0.9, 0.0, -1.0], [0.02, 0.0, 1.0, 0.5]])
    cells = voxel_grid((8, 8, 8)) * 2 + 0.5
    displacements = ((moved_by(affine, cells) - cells) / 2).movedim(-1, 0)
    displacements[:, :, :, :2] += 5 * torch.rand(3, 8, 8, 2)
    torch.testing.assert_close(affine_of_displacements(displacements, factor=2), affine, atol=1e-3, rtol=0)


def test_the_corners_of_a_box_are_laid_on_those_of_the_other():
    affine = box_affine((10, 4, 6), (20, 4, 3))
    # The outer faces of the first and the last voxel.
    torch.testing.assert_close(moved_by(affine, torch.full((3,), -0.5)), torch.full((3,), -0.5))
    torch.testing.assert_close(moved_by(affine, torch.tensor([9.5, 3.5, 5.5])), torch.tensor([19.5, 3.5, 2.5]))


def test_joined_maps_do_one_after_the_other():
    first, then = torch.rand(3, 4), torch.rand(3, 4)
    places = torch.rand(5, 3)
    torch.testing.assert_close(moved_by(joined(first, then=then), places), moved_by(then, moved_by(first, places)))
