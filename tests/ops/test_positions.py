import pytest
import torch
from torch.nn import functional as F

from medssl.ops.positions import gather_positions
from medssl.ops.pyramid import gather_voxels

SIZES = [(8, 6), (7, 8, 5)]


def pyramid_of(size, batch=2):
    return [torch.rand(batch, 3 + i, *[-(-n // 2**i) for n in size], requires_grad=True) for i in range(3)]


def positions_in(size, count=50, batch=2):
    sample = torch.randint(0, batch, (count, 1)).float()
    return torch.cat([sample, torch.rand(count, len(size)) * (torch.tensor(size) - 1.0)], dim=1)


@pytest.mark.parametrize("size", SIZES)
def test_at_whole_voxels_the_rows_are_those_of_the_voxels(size):
    pyramid, voxels = pyramid_of(size), positions_in(size).round().long()
    corner = torch.tensor([[0, *[n - 1 for n in size]]])
    voxels = torch.cat([voxels, corner])
    torch.testing.assert_close(gather_positions(pyramid, voxels.float()), gather_voxels(pyramid, voxels))


@pytest.mark.parametrize("size", SIZES)
def test_between_voxels_the_rows_are_a_linear_warp_of_the_full_resolution_map(size):
    pyramid, positions = pyramid_of(size), positions_in(size)
    full = [F.interpolate(level, scale_factor=2**i, mode="nearest") for i, level in enumerate(pyramid)]
    full = torch.cat([level[(..., *[slice(n) for n in size])] for level in full], dim=1)
    grid = (2 * positions[:, 1:] / (torch.tensor(size) - 1.0) - 1).flip(-1)
    expected = [
        F.grid_sample(full[int(b)][None], g.reshape(1, *[1] * len(size), -1), align_corners=True).flatten()
        for b, g in zip(positions[:, 0], grid, strict=True)
    ]
    torch.testing.assert_close(gather_positions(pyramid, positions), torch.stack(expected), atol=1e-5, rtol=1e-4)


def test_levels_are_read_at_their_strides():
    level = torch.arange(4.0).reshape(1, 1, 4)
    assert gather_positions([level], torch.tensor([[0.0, 7.5]]), strides=[4]).item() == 1.5


def test_every_level_gets_a_gradient():
    pyramid = pyramid_of((8, 6))
    gather_positions(pyramid, positions_in((8, 6))).sum().backward()
    assert all(level.grad.any() for level in pyramid)
