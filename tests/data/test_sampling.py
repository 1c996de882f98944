import itertools

import pytest
import torch
from monai.transforms import RandSpatialCropd
from torch.utils.data import DataLoader

from medssl.data.sampling import StepBatches, StepSampler, collate, positions_of_rank, require_even_shares


def batches_of(num_volumes=3, seed=0, **options):
    volumes = [{"image": torch.arange(64.0).reshape(1, 8, 8) + 100 * i, "case": str(i)} for i in range(num_volumes)]
    crop = RandSpatialCropd("image", (4, 4), random_size=False)
    return StepBatches(volumes, crop, seed=seed, **{"batch_size": 4, **options})


def drawn(batches, num_workers, start, count):
    loader = DataLoader(batches, batch_size=None, sampler=StepSampler(start), num_workers=num_workers)
    return [batch["image"] for batch in itertools.islice(iter(loader), count)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("num_workers", [1, 3])
def test_batches_do_not_depend_on_the_number_of_workers(num_workers):
    torch.testing.assert_close(drawn(batches_of(), num_workers, 0, 4), drawn(batches_of(), 0, 0, 4), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("start", [0, 2])
def test_the_batches_of_the_ranks_make_up_that_of_one_process(num_workers, start):
    options = {"num_volumes": 3, "volumes_per_batch": 2}
    ranks = [drawn(batches_of(rank=r, num_ranks=2, **options), num_workers, start, 3) for r in (0, 1)]
    joined = [torch.cat(parts) for parts in zip(*ranks, strict=True)]
    whole = drawn(batches_of(**options), 0, 0, start + 3)[start:]
    torch.testing.assert_close(joined, whole, rtol=0, atol=0)


def test_a_batch_that_the_ranks_cannot_share_evenly_is_an_error():
    with pytest.raises(ValueError, match=r"3 ranks cannot share a batch of 4 evenly.*multiples of 3"):
        batches_of(num_ranks=3)


def test_batches_after_a_restart_are_those_of_an_unbroken_run():
    torch.testing.assert_close(drawn(batches_of(), 0, 2, 2), drawn(batches_of(), 0, 0, 4)[2:], rtol=0, atol=0)


def test_batches_differ_between_steps_and_between_seeds():
    batches = batches_of()
    assert not torch.equal(batches[0]["image"], batches[1]["image"])
    assert not torch.equal(batches[0]["image"], batches_of(seed=1)[0]["image"])


def test_samples_of_one_batch_differ():
    image = batches_of(num_volumes=1)[0]["image"]
    assert not torch.equal(image[0], image[1])


@pytest.mark.parametrize("volumes_per_batch", [1, 2])
def test_a_batch_comes_from_that_many_volumes(volumes_per_batch):
    for step in range(5):
        assert len(set(batches_of(volumes_per_batch=volumes_per_batch)[step]["case"])) == volumes_per_batch


def test_every_case_is_seen_once_in_each_pass():
    batches = batches_of(num_volumes=3)
    seen = [batches[step]["case"][0] for step in range(6)]
    assert sorted(seen[:3]) == sorted(seen[3:]) == ["0", "1", "2"]


def test_voxels_are_joined_with_their_position_in_the_batch():
    samples = [{"voxels_1": torch.tensor([[1, 2], [3, 4]])}, {"voxels_1": torch.tensor([[5, 6]])}]
    assert collate(samples)["voxels_1"].tolist() == [[0, 1, 2], [0, 3, 4], [1, 5, 6]]


def test_no_cases_is_an_error():
    with pytest.raises(ValueError, match="no cases to train on"):
        batches_of(num_volumes=0)


def test_more_volumes_than_samples_is_an_error():
    with pytest.raises(ValueError, match="volumes_per_batch"):
        batches_of(volumes_per_batch=5)


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 6])
def test_the_shares_of_the_ranks_are_the_batch(num_ranks):
    require_even_shares(6, num_ranks)
    assert [p for rank in range(num_ranks) for p in positions_of_rank(6, rank, num_ranks)] == list(range(6))


def test_an_uneven_share_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match="4 ranks cannot share a batch of 6 evenly; choose pairs_per_batch"):
        require_even_shares(6, 4)
