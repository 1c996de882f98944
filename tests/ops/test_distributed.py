import pytest
import torch

from medssl.ops.distributed import gather_rows, global_count, logsumexp_over_ranks, rank_and_size, sum_over_ranks
from tests.ranks import on_ranks

LENGTHS = (5, 1, 3)


def rows_of(rank):
    return torch.arange(sum(LENGTHS) * 2.0).reshape(-1, 2).split(LENGTHS)[rank]


def everything(rank):
    rows = rows_of(rank).requires_grad_()
    gathered = gather_rows(rows)
    weights = torch.arange(float(len(gathered))).square()[:, None]
    (gathered * weights).sum().backward()
    return {
        "place": rank_and_size(),
        "count": global_count(rows),
        "gathered": gathered.detach(),
        "gradient": rows.grad,
        "sum": sum_over_ranks(torch.tensor([rank, 1.0])),
        "logsumexp": logsumexp_over_ranks(torch.tensor([float(rank), 200.0, 1.0 if rank == 1 else -torch.inf])),
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return on_ranks(everything, len(LENGTHS), tmp_path_factory.mktemp("ranks"))


def test_every_rank_knows_its_place(results):
    assert [result["place"] for result in results] == [(0, 3), (1, 3), (2, 3)]


def test_rows_are_counted_over_all_ranks(results):
    assert {result["count"] for result in results} == {sum(LENGTHS)}


def test_rows_of_all_ranks_are_gathered_in_order(results):
    for result in results:
        torch.testing.assert_close(result["gathered"], torch.cat([rows_of(rank) for rank in range(3)]))


def test_mean_over_ranks_of_the_gradients_is_that_of_one_process(results):
    expected = torch.arange(9.0).square()[:, None].expand(-1, 2).split(LENGTHS)
    for result, own in zip(results, expected, strict=True):
        torch.testing.assert_close(result["gradient"] / 3, own)


def test_sums_are_over_all_ranks(results):
    for result in results:
        assert result["sum"].tolist() == [3.0, 3.0]
        expected = torch.tensor([[0.0, 1.0, 2.0], [200.0] * 3, [1.0, -torch.inf, -torch.inf]]).logsumexp(1)
        torch.testing.assert_close(result["logsumexp"], expected)


def test_without_a_group_nothing_changes():
    rows = torch.rand(4, 2, requires_grad=True)
    assert gather_rows(rows) is rows
    assert rank_and_size() == (0, 1)
    assert global_count(rows) == 4
