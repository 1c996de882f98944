import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from medssl.ops.neighbours import near_positions, neighbour_components


@pytest.mark.parametrize("num_rows", [2, 3, 7, 40, 129])
def test_components_are_those_of_scipy(num_rows):
    rows = torch.randn(num_rows, 6, generator=torch.Generator().manual_seed(num_rows))
    search = NearestNeighbors(n_neighbors=1, metric="cosine").fit(rows.numpy())
    nearest = search.kneighbors(return_distance=False)[:, 0]
    graph = coo_array(([1] * num_rows, (range(num_rows), nearest)), shape=(num_rows, num_rows))
    _, expected = connected_components(graph, directed=False)
    assert adjusted_rand_score(expected, neighbour_components(rows).numpy()) == 1


def test_a_long_chain_of_neighbours_is_one_component():
    angles = torch.cumsum(torch.linspace(0.01, 0.04, 40), dim=0)
    rows = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert neighbour_components(rows).unique().tolist() == [0]


def test_no_row_is_alone():
    labels = neighbour_components(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
    assert labels.bincount()[labels].min() >= 2


def test_length_does_not_count():
    rows = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(neighbour_components(rows), neighbour_components(rows * torch.rand(20, 1).add(0.1)))


def test_a_single_row_names_the_setting():
    with pytest.raises(ValueError, match="set pairs_per_batch to 2 or more"):
        neighbour_components(torch.zeros(1, 3))


def test_positions_are_near_if_they_are_along_every_axis():
    positions = torch.tensor([[0.5, 0.5], [0.55, 0.45], [0.55, 0.7], [0.5, 0.6]])
    assert near_positions(positions, 0.0999)[0].tolist() == [True, True, False, False]
