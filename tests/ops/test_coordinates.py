import numpy as np
import pytest
import torch

from medssl.ops.coordinates import cell_diagonal, cell_positions, require_whole_cell


@pytest.mark.parametrize(("grid", "stride"), [((3, 2), 4), ((2, 3, 2), 8), ((1, 1, 1), 32)])
def test_a_cell_lies_at_the_mean_of_its_voxels(grid, stride):
    d = len(grid)
    affine = torch.randn(2, d, d + 1)
    positions = cell_positions(affine, grid, stride, (stride - 1) / 2)
    assert positions.shape == (2, *grid, d)
    for b, cell in ((b, cell) for b in range(2) for cell in np.ndindex(*grid)):
        corner = np.array(cell) * stride
        voxels = np.stack(np.meshgrid(*(np.arange(c, c + stride) for c in corner), indexing="ij"), -1).reshape(-1, d)
        matrix = affine[b].double().numpy()
        expected = (voxels @ matrix[:, :d].T + matrix[:, d]).mean(axis=0)
        np.testing.assert_allclose(positions[(b, *cell)], expected, atol=1e-3)


def test_positions_are_exact_under_autocast():
    affine = torch.tensor([[[0.731, 0.0, 411.0], [0.0, 1.213, 97.0]]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = cell_positions(affine.bfloat16().float(), (4, 4), 16, 7.5)
    assert low.dtype == torch.float32
    assert torch.equal(low, cell_positions(affine.bfloat16().float(), (4, 4), 16, 7.5))


@pytest.mark.parametrize("d", [2, 3])
def test_no_voxel_is_further_than_half_a_diagonal_from_the_nearest_cell(d):
    stride, grid = 4, (3, 2, 2)[:d]
    affine = torch.cat([torch.diag(torch.tensor([-0.7, 1.3, 2.0])[:d]), torch.rand(d, 1)], dim=1)[None]
    centres = cell_positions(affine, grid, stride, (stride - 1) / 2).flatten(1, -2)
    voxels = cell_positions(affine, [stride * n for n in grid], 1, 0).flatten(1, -2)
    distance = torch.cdist(voxels, centres).min(dim=2).values.max()
    half = cell_diagonal(affine, stride)[0] / 2
    assert 0.5 * half < distance < half


def test_an_affine_of_other_axes_is_an_error():
    with pytest.raises(ValueError, match=r"3 axes needs affines of 3 x 4, got \(2, 3\)"):
        cell_positions(torch.zeros(1, 2, 3), (4, 4, 4), 8, 3.5)


def test_a_view_smaller_than_a_cell_along_every_axis_is_refused():
    require_whole_cell((32, 8), stride=32)
    with pytest.raises(ValueError, match=r"31 x 8 voxels .* of 32 voxels; raise patch_size"):
        require_whole_cell((31, 8), stride=32)
