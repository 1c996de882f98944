"""Which scan to label next: what every strategy needs to know of the scans is a number or a few of each."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def farthest(descriptors: np.ndarray, labelled: Sequence[int]) -> int:
    """Return the scan that is least like all labelled ones: the farthest from the nearest of them.

    Greedy k-center (Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985; Sener and Savarese,
    "Active learning for convolutional neural networks: a core-set approach", 2018). Without a labelled scan it is the
    one with the least sum of distances to all others.

    Args:
        descriptors: a vector for every scan, such as the mean of its features, shape ``(N, C)``; every component is
            brought to one deviation.
        labelled: rows of the scans that have a label; at least one scan has none.

    Example:
        >>> farthest(np.array([[0.0], [1.0], [2.0], [9.0]]), labelled=[1])
        3
    """
    distances = _distances(descriptors)
    if not labelled:
        return int(distances.sum(axis=1).argmin())
    nearest = distances[:, list(labelled)].min(axis=1)
    nearest[list(labelled)] = -1
    return int(nearest.argmax())


def representative(descriptors: np.ndarray, labelled: Sequence[int]) -> int:
    """Return the scan whose label brings all scans nearest to a labelled one: the least sum of these distances.

    A greedy solution of the k-median problem: as `farthest`, but a single odd scan counts no more than others.

    Args:
        descriptors: as in `farthest`.
        labelled: as in `farthest`.

    Example:
        >>> representative(np.array([[0.0], [1.0], [2.0], [9.0]]), labelled=[])
        1
    """
    distances = _distances(descriptors)
    nearest = distances[:, list(labelled)].min(axis=1) if labelled else np.full(len(distances), np.inf)
    left = np.minimum(nearest[:, None], distances).sum(axis=0)
    left[list(labelled)] = np.inf
    return int(left.argmin())


def mean_entropy(logits: Tensor) -> float:
    """Return the mean entropy of the classes of voxels, in nats, background with the logit 0 among them.

    Args:
        logits: shape ``(N, K)``.

    Example:
        >>> round(mean_entropy(torch.zeros(5, 1)), 3)
        0.693
    """
    return float(torch.distributions.Categorical(logits=_with_background(logits)).entropy().mean())


def confidence(logits: Tensor) -> float:
    """Return how sure a probe is of a scan: the mean over structures of the mean probability where each is found.

    A structure that is not found counts as 0.

    Args:
        logits: shape ``(N, K)``.

    Example:
        >>> confidence(torch.tensor([[9.0, -9.0], [-9.0, -9.0]]))
        0.4999...
    """
    probability, found = _with_background(logits).softmax(dim=1).max(dim=1)
    of_each = [probability[found == value] for value in range(1, logits.shape[1] + 1)]
    return float(np.mean([float(part.mean()) if len(part) else 0.0 for part in of_each]))


def _with_background(logits: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)


def _distances(descriptors: np.ndarray) -> np.ndarray:
    values = np.asarray(descriptors, dtype=np.float64)
    deviation = values.std(axis=0)
    values = values / np.where(deviation > 0, deviation, 1)
    return np.sqrt(((values[:, None] - values[None]) ** 2).sum(axis=2))
