"""Training batches that are a pure function of (seed, step)."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from torch.utils.data import Dataset, Sampler, default_collate


class StepSampler(Sampler[int]):
    """Yield the numbers of the training steps, from `start` on, endlessly.

    A resumed run sets `start` to the number of steps already done.
    """

    def __init__(self, start: int = 0) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start)


class StepBatches(Dataset):
    """The batch of every training step.

    The random state of a sample depends only on (seed, step, position in the batch), so a batch is the same whatever
    the number of workers and wherever a run was resumed. Use it with ``DataLoader(batch_size=None,
    sampler=StepSampler())``.

    Args:
        volumes: preprocessed cases, a sequence of dictionaries (a MONAI dataset).
        transform: random transform from a case to a sample.
        seed: seed of the whole run.
        batch_size: samples in a batch.
        volumes_per_batch: number of cases, drawn without replacement, that the samples of one batch come from;
            vox2vec and Kats et al. (2024) use 1. Samples are spread evenly over them.
        rank: number of this process; its batch holds only its samples, a block of ``batch_size / num_ranks``. The
            batches of all ranks, joined in order, are the batch of a single process.
        num_ranks: number of processes that share the batch.

    Raises:
        ValueError: if there are no cases, the batch is smaller than ``volumes_per_batch``, or the ranks cannot share
            it evenly.

    Example:
        >>> from monai.transforms import RandSpatialCropd
        >>> volumes = [{"image": torch.rand(1, 8, 8)}]
        >>> batches = StepBatches(volumes, RandSpatialCropd("image", (4, 4), random_size=False), seed=0, batch_size=2)
        >>> batches[7]["image"].shape, torch.equal(batches[7]["image"], batches[7]["image"])
        (torch.Size([2, 1, 4, 4]), True)
    """

    def __init__(
        self,
        volumes: Sequence[dict],
        transform: Any,
        seed: int,
        batch_size: int,
        volumes_per_batch: int = 1,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        if len(volumes) == 0:
            raise ValueError("There are no cases to train on; check the sections of the data list.")
        if not 1 <= volumes_per_batch <= batch_size:
            raise ValueError(
                f"volumes_per_batch must be between 1 and batch_size={batch_size}, got {volumes_per_batch}."
            )
        self.volumes = volumes
        self.transform = Compose([transform])
        self.seed = seed
        self.positions = positions_of_rank(batch_size, rank, num_ranks)
        self.volumes_per_batch = volumes_per_batch

    def __getitem__(self, step: int) -> dict[str, Any]:
        chosen = self._cases_of(step)
        samples: dict[int, dict[str, Any]] = {}
        # Each case is read once, and one at a time is kept.
        for place, case in enumerate(chosen):
            mine = [position for position in self.positions if position % len(chosen) == place]
            volume = self.volumes[int(case)] if mine else {}
            samples |= {position: self._sample(step, position, volume) for position in mine}
        return collate([samples[position] for position in self.positions])

    def _cases_of(self, step: int) -> np.ndarray:
        # Cases are drawn in whole shuffled passes over the data, so each is seen equally often.
        count = len(self.volumes)
        drawn = step * self.volumes_per_batch + np.arange(self.volumes_per_batch)
        passes = {p: np.random.default_rng((self.seed, int(p))).permutation(count) for p in np.unique(drawn // count)}
        return np.array([passes[int(i // count)][i % count] for i in drawn])

    def _sample(self, step: int, position: int, volume: dict[str, Any]) -> dict[str, Any]:
        state = np.random.SeedSequence((self.seed, step, position)).generate_state(1)[0]
        self.transform.set_random_state(seed=int(state))
        sample = self.transform(dict(volume))
        return sample[0] if isinstance(sample, list) else sample


def positions_of_rank(batch_size: int, rank: int, num_ranks: int) -> range:
    """Return the positions in the batch that a rank computes: a block of the same size for every rank.

    Args:
        batch_size: samples in the batch of all ranks.
        rank: number of the process.
        num_ranks: number of processes.

    Raises:
        ValueError: if the number of ranks does not divide the batch.

    Example:
        >>> positions_of_rank(8, rank=1, num_ranks=2)
        range(4, 8)
    """
    require_even_shares(batch_size, num_ranks)
    size = batch_size // num_ranks
    return range(rank * size, (rank + 1) * size)


def require_even_shares(batch_size: int, num_ranks: int) -> None:
    """Check that ranks can share a batch evenly.

    Args:
        batch_size: samples in the batch of all ranks.
        num_ranks: number of processes.

    Raises:
        ValueError: if they cannot.
    """
    if batch_size % num_ranks:
        raise ValueError(
            f"{num_ranks} ranks cannot share a batch of {batch_size} evenly; choose pairs_per_batch among the "
            f"multiples of {num_ranks}, or another --nproc_per_node."
        )


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Collate samples into a batch: tensors are stacked, voxel indices joined, everything else listed.

    Voxels of shape ``(N_b, spatial_dims)`` under keys ``voxels_*`` become one tensor of shape
    ``(sum N_b, 1 + spatial_dims)`` whose first column is the position of the sample in the batch.

    Example:
        >>> collate([{"voxels_1": torch.tensor([[3, 4]])}, {"voxels_1": torch.tensor([[5, 6]])}])
        {'voxels_1': tensor([[0, 3, 4],
                [1, 5, 6]])}
    """
    batch: dict[str, Any] = {}
    for key in samples[0]:
        values = [sample[key] for sample in samples]
        if key.startswith("voxels_"):
            batch[key] = torch.cat([torch.cat([torch.full_like(v[:, :1], b), v], dim=1) for b, v in enumerate(values)])
        elif isinstance(values[0], torch.Tensor):
            # In a worker this stacks into memory shared with the training process, which saves a copy.
            batch[key] = default_collate([v.as_tensor() if isinstance(v, MetaTensor) else v for v in values])
        else:
            batch[key] = values
    return batch


def background_and_class_ratios(num_classes: int) -> list[float]:
    """Ratios that centre half of the patches on background and half on a class, all classes alike.

    For the ``ratios`` of MONAI's `RandCropByLabelClassesd`. It follows the sampling of vox2vec (Goncharov et al.,
    2023), whose first half is uniform over the volume instead.

    Example:
        >>> background_and_class_ratios(2)
        [2.0, 1.0, 1.0]
    """
    return [float(num_classes)] + [1.0] * num_classes
