"""Which voxels of a label map are kept: half of them background, half shared evenly by the classes."""

from collections.abc import Callable

import numpy as np

# Takes some of the given voxels (flat indices): as many as the number says.
Take = Callable[[np.ndarray, int], np.ndarray]


def choose_voxels(label: np.ndarray, num_voxels: int, take: Take) -> tuple[np.ndarray, np.ndarray]:
    """Choose voxels of a label map: their flat indices in ascending order, and how many voxels each stands for.

    Half of them are shared evenly by the classes in the map, each giving at most all that it has; the others are
    background. A map of no more than `num_voxels` voxels is kept whole. Weighted sums over the kept voxels are
    unbiased estimates of sums over the map (Horvitz and Thompson, 1952).

    Args:
        label: integer map, 0 is background.
        num_voxels: the most that are kept.
        take: which voxels of a class are kept, such as `at_random` or `steadily`.

    Example:
        >>> label = np.array([[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 2]])
        >>> kept, weights = choose_voxels(label, 8, at_random(np.random.default_rng(0)))
        >>> label.ravel()[kept].tolist(), weights.tolist()
        ([0, 0, 0, 0, 0, 1, 1, 2], [1.2000000476837158, 1.2000000476837158, ..., 2.5, 2.5, 1.0])
    """
    values = label.ravel()
    if len(values) <= num_voxels:
        return np.arange(len(values)), np.ones(len(values), dtype=np.float32)
    found = {int(value): np.flatnonzero(values == value) for value in np.unique(values)}
    quota = num_voxels // (2 * max(len(found) - (0 in found), 1))
    kept = {value: _some(voxels, quota, take) for value, voxels in found.items() if value != 0}
    kept[0] = _some(found.get(0, np.empty(0, dtype=np.int64)), num_voxels - sum(map(len, kept.values())), take)
    flat = np.concatenate(list(kept.values()))
    weights = np.concatenate([np.full(len(k), len(found[v]) / len(k)) for v, k in kept.items() if len(k)])
    order = np.argsort(flat)
    return flat[order], weights[order].astype(np.float32)


def at_random(rng: np.random.Generator) -> Take:
    """Take voxels of a class at random, each choice independent of all others.

    Args:
        rng: of the choices.
    """
    return lambda voxels, number: rng.choice(voxels, number, replace=False, shuffle=False)


def steadily(label_size: int, seed: int) -> Take:
    """Take voxels of a class so that another label of the same scan has most of them in common with this one.

    Every voxel has a rank drawn from the seed, whatever its class, and a class gives its voxels of lowest rank
    (coordinated sampling: Cohen and Kaplan, "Summarizing data using bottom-k sketches", 2007). Each choice on its own
    is random. The fewer voxels of one label are among the more voxels of it.

    Args:
        label_size: number of voxels of the scan.
        seed: of the ranks: the same for every label of a scan.

    Example:
        >>> label = np.zeros(1000, dtype=int)
        >>> label[:300] = 1
        >>> kept, _ = choose_voxels(label, 100, steadily(1000, seed=0))
        >>> label[300:310] = 1
        >>> len(np.setdiff1d(choose_voxels(label, 100, steadily(1000, seed=0))[0], kept)) < 10
        True
    """
    ranks = np.random.default_rng(seed).random(label_size, dtype=np.float32)
    return lambda voxels, number: voxels[np.argpartition(ranks[voxels], number)[:number]]


def _some(voxels: np.ndarray, number: int, take: Take) -> np.ndarray:
    return voxels if len(voxels) <= number else take(voxels, number)
