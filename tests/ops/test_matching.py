import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medssl.ops import matching
from medssl.ops.matching import best_matches, nearest_by_feature, nearest_by_location, take_cells


def brute_force(rows: torch.Tensor, others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances of every row to every other row, one at a time."""
    table = torch.stack([torch.stack([(o - row).norm(dim=1) for row in r]) for r, o in zip(rows, others, strict=True)])
    return table.min(dim=2)


@pytest.mark.parametrize("function", [nearest_by_feature, lambda a, b: nearest_by_location(a, b, 1e9)])
@pytest.mark.parametrize("most", [1 << 24, 30])
def test_nearest_is_that_of_all_pairs(function, most, monkeypatch):
    monkeypatch.setattr(matching, "_MOST_DISTANCES", most)
    rows, others = torch.randn(2, 31, 3), torch.randn(2, 17, 3)
    distances, index = function(rows, others)
    expected = brute_force(rows, others)
    assert torch.equal(index, expected.indices)
    torch.testing.assert_close(distances, expected.values, atol=1e-3, rtol=1e-3)


class LargestTensor(TorchDispatchMode):
    """Keeps the number of values of the largest tensor that any operation makes."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.most = max([self.most, *(t.numel() for t in tree_leaves(made) if isinstance(t, torch.Tensor))])
        return made


@pytest.mark.parametrize("function", [nearest_by_feature, lambda a, b: nearest_by_location(a, b, 1.0)])
def test_matching_holds_no_more_than_one_number_for_a_pair(function):
    rows, others = torch.randn(2, 300, 16), torch.randn(2, 400, 16)
    with LargestTensor() as mode:
        function(rows, others)
    assert 0 < mode.most <= 2 * 300 * 400


def test_of_unit_vectors_the_nearest_has_the_largest_cosine():
    a, b = (torch.nn.functional.normalize(torch.randn(2, n, 8), dim=2) for n in (40, 30))
    assert torch.equal(nearest_by_feature(a, b)[1], (a @ b.mT).argmax(dim=2))


def test_small_distances_between_far_places_are_exact():
    positions = torch.full((1, 40, 3), 20000.0)
    distances, _ = nearest_by_location(positions, positions + 0.25, 1.0)
    torch.testing.assert_close(distances, torch.full((1, 40), 0.25 * 3**0.5))


def test_each_view_has_its_own_largest_distance():
    positions = torch.tensor([[[0.0, 0.0]], [[0.0, 0.0]]])
    others = torch.tensor([[[3.0, 4.0]], [[3.0, 4.0]]])
    distances, _ = nearest_by_location(positions, others, torch.tensor([4.9, 5.1]))
    assert distances.tolist() == [[torch.inf], [5.0]]


def test_the_best_matches_are_the_smallest_distances():
    distances = torch.rand(3, 20)
    values, index = best_matches(distances, 5)
    torch.testing.assert_close(values, distances.sort(dim=1).values[:, :5])
    torch.testing.assert_close(distances.gather(1, index), values)


def test_fewer_cells_than_matches_give_them_all():
    assert best_matches(torch.rand(2, 3), 20)[0].shape == (2, 3)


def test_cells_are_taken_from_their_own_view():
    cells, index = torch.randn(2, 6, 4), torch.randint(0, 6, (2, 3))
    expected = torch.stack([cells[b][index[b]] for b in range(2)])
    assert torch.equal(take_cells(cells, index), expected)


def test_matching_leaves_no_gradient_and_works_under_autocast():
    rows = torch.randn(1, 5, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distances, _ = nearest_by_feature(rows, rows)
    assert not distances.requires_grad and distances.dtype == torch.float32
