import pytest

from medssl.data.turns import TakingTurns


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_source_gives_all_its_batches_in_order(count):
    sources = [[(source, step) for step in range(5)] for source in range(count)]
    batches = [TakingTurns(sources)[step] for step in range(5 * count)]
    assert [batch[0] for batch in batches] == list(range(count)) * 5
    assert all([step for source, step in batches if source == one] == list(range(5)) for one in range(count))
