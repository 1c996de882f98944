import pytest
import torch

from medssl.networks.queue import Queue


def test_starts_with_unit_rows():
    torch.testing.assert_close(Queue(8, 16).rows.norm(dim=1), torch.ones(16))


def test_the_oldest_rows_are_replaced_across_the_end():
    queue = Queue(2, 3)
    for number in range(1, 5):
        angle = torch.tensor(float(number))
        queue.push(torch.stack([angle.cos(), angle.sin()])[None])
    kept = torch.atan2(queue.rows[:, 1], queue.rows[:, 0]) % (2 * torch.pi)
    torch.testing.assert_close(kept, torch.tensor([4.0, 2.0, 3.0]))


def test_rows_and_position_are_part_of_the_state():
    queue, other = Queue(4, 5), Queue(4, 5)
    queue.push(torch.rand(3, 4))
    other.load_state_dict(queue.state_dict())
    row = torch.rand(1, 4)
    queue.push(row)
    other.push(row)
    torch.testing.assert_close(queue.rows, other.rows)


def test_more_rows_than_fit_are_refused():
    with pytest.raises(ValueError, match="raise queue_size"):
        Queue(4, 5).push(torch.rand(6, 4))
