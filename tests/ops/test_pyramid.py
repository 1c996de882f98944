import pytest
import torch
from torch.nn.functional import interpolate

from medssl.ops.pyramid import crop_like, gather_levels, gather_voxels, interpolate_voxels


def coordinate_pyramid(shape, num_levels):
    """A pyramid whose features are the indices of their own cell."""
    pyramid = []
    for i in range(num_levels):
        size = [-(-s // 2**i) for s in shape]
        grid = torch.stack(torch.meshgrid(*(torch.arange(float(s)) for s in size), indexing="ij"))
        pyramid.append(torch.stack([grid, grid + 100]))
    return pyramid


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 5)])
def test_each_level_is_read_at_the_cell_that_holds_the_voxel(shape):
    pyramid = coordinate_pyramid(shape, 3)
    voxels = torch.stack([torch.randint(0, n, (50,)) for n in (2, *shape)], dim=1)
    for i, rows in enumerate(gather_levels(pyramid, voxels)):
        expected = voxels[:, 1:] // 2**i + 100 * voxels[:, :1]
        torch.testing.assert_close(rows, expected.float())


def test_levels_are_concatenated_finest_first():
    pyramid = [torch.zeros(1, 2, 4, 4), torch.ones(1, 3, 2, 2)]
    assert gather_voxels(pyramid, torch.tensor([[0, 1, 1]])).tolist() == [[0, 0, 1, 1, 1]]


def test_gradient_reaches_only_the_gathered_cells():
    level = torch.zeros(1, 1, 4, 4, requires_grad=True)
    gather_voxels([level], torch.tensor([[0, 2, 3], [0, 2, 3]])).sum().backward()
    expected = torch.zeros(1, 1, 4, 4)
    expected[0, 0, 2, 3] = 2
    torch.testing.assert_close(level.grad, expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_gradient_is_that_of_indexing_in_the_memory_format_of_the_level(memory_format):
    torch.manual_seed(0)
    level = torch.randn(2, 5, 6, 4, 3).contiguous(memory_format=memory_format).requires_grad_()
    voxels = torch.stack([torch.randint(0, n, (40,)) for n in (2, 6, 4, 3)], dim=1)
    weights = torch.randn(40, 5)
    rows = torch.stack([level[b, :, i, j, k] for b, i, j, k in voxels.tolist()])
    (expected,) = torch.autograd.grad((rows * weights).sum(), level)
    (actual,) = torch.autograd.grad((gather_voxels([level], voxels) * weights).sum(), level)
    torch.testing.assert_close(actual, expected)
    assert actual.is_contiguous(memory_format=memory_format)


def test_voxels_without_their_batch_position_are_refused():
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        gather_voxels([torch.zeros(1, 1, 4, 4)], torch.zeros(5, 2, dtype=torch.long))


def test_crop_keeps_the_leading_corner():
    x = torch.arange(36.0).reshape(1, 1, 6, 6)
    torch.testing.assert_close(crop_like(x, torch.zeros(1, 3, 5, 4)), x[..., :5, :4])


@pytest.mark.parametrize(("size", "mode"), [((11, 8), "bilinear"), ((7, 6, 5), "trilinear")])
def test_coarser_levels_are_interpolated_as_pytorch_interpolates_maps(size, mode):
    torch.manual_seed(0)
    pyramid = [torch.randn(2, 3 + i, *(-(-s // 2**i) for s in size)) for i in range(3)]
    voxels = torch.cartesian_prod(torch.arange(2), *(torch.arange(s) for s in size))
    maps = [pyramid[0]]
    for i, level in enumerate(pyramid[1:], start=1):
        maps.append(crop_like(interpolate(level, scale_factor=2**i, mode=mode, align_corners=False), pyramid[0]))
    expected = torch.cat(maps, dim=1).movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close(interpolate_voxels(pyramid, voxels, size, "linear"), expected)


def test_an_unknown_upsampling_is_refused():
    with pytest.raises(ValueError, match="upsampling is 'cubic'; set it to nearest or linear"):
        interpolate_voxels([torch.zeros(1, 1, 2)], torch.zeros(1, 2, dtype=torch.long), (2,), "cubic")


@pytest.mark.parametrize(("size", "mode"), [((11, 8), "bilinear"), ((7, 6, 5), "trilinear")])
def test_a_pyramid_coarser_than_its_image_is_interpolated_as_pytorch_interpolates_maps(size, mode):
    torch.manual_seed(0)
    level = torch.randn(2, 3, *(-(-s // 2) for s in size))
    voxels = torch.cartesian_prod(torch.arange(2), *(torch.arange(s) for s in size))
    expected = interpolate(level, size=size, mode=mode, align_corners=False).movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close(interpolate_voxels([level], voxels, size), expected)
