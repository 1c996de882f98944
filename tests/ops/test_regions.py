import pytest
import torch

from medssl.ops.regions import pool_regions, regions_of_cells


def pooled_by_loops(features, regions, divisor):
    result = torch.empty_like(features)
    for b in range(len(features)):
        for region in regions[b].unique():
            inside = regions[b] == region
            values = features[b][:, inside]
            count = values.shape[1] if divisor == "region" else inside.numel()
            result[b][:, inside] = values.sum(1, keepdim=True) / count
    return result


@pytest.mark.parametrize("divisor", ["region", "image"])
@pytest.mark.parametrize("spatial", [(6, 5), (4, 3, 5)])
def test_pooling_is_what_loops_over_the_regions_give(spatial, divisor):
    torch.manual_seed(0)
    features, regions = torch.randn(3, 4, *spatial), torch.randint(-1, 6, (3, *spatial)) * 7
    expected = pooled_by_loops(features, regions, divisor)
    torch.testing.assert_close(pool_regions(features, regions, divisor), expected)


def test_the_gradient_of_a_cell_is_shared_by_its_region():
    features = torch.zeros(1, 1, 4, requires_grad=True)
    pool_regions(features, torch.tensor([[3, 3, 3, 8]]))[0, 0, 0].backward()
    torch.testing.assert_close(features.grad, torch.tensor([[[1 / 3, 1 / 3, 1 / 3, 0]]]))


def test_half_precision_is_summed_in_float32():
    features = torch.full((1, 1, 4096), 1.001, dtype=torch.bfloat16)
    pooled = pool_regions(features, torch.zeros(1, 4096, dtype=torch.long))
    torch.testing.assert_close(pooled, features.float())


def test_regions_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"need regions of shape \(B, \*spatial\), got \(2, 3\)"):
        pool_regions(torch.zeros(2, 1, 4), torch.zeros(2, 3))


def test_an_unknown_divisor_is_named():
    with pytest.raises(ValueError, match="'region' or 'image', got 'area'"):
        pool_regions(torch.zeros(1, 1, 4), torch.zeros(1, 4), "area")


@pytest.mark.parametrize(("size", "stride"), [(8, 1), (8, 4), (9, 4), (3, 4), (7, 2)])
def test_a_cell_has_the_region_of_its_middle_voxel(size, stride):
    regions = torch.arange(size * size).reshape(1, size, size)
    cells = regions_of_cells(regions, stride)
    num_cells = -(-size // stride)
    assert cells.shape == (1, num_cells, num_cells)
    for i in range(num_cells):
        for j in range(num_cells):
            middle = [min(k * stride + stride // 2, size - 1) for k in (i, j)]
            assert cells[0, i, j] == regions[0, *middle]
