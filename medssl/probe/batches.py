"""Rows of features as the cases and batches of a training."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable, Transform
from torch import Tensor
from tqdm.auto import tqdm

from medssl.losses.dice_bce import RowTargets
from medssl.probe.rows import VoxelRows


class FeatureCases(Sequence[dict[str, Any]]):
    """The rows of several cases, ``{"case", "rows"}``, preprocessed and computed one after the other where needed.

    Args:
        cases: of a data list.
        preprocessing: deterministic transform that gives ``image`` and ``label``.
        rows: `FeatureCache.patches` or `FeatureCache.volume`.
    """

    def __init__(
        self,
        cases: Iterable[Mapping[str, Any]],
        preprocessing: Callable[[dict[str, Any]], Mapping[str, Any]],
        rows: Callable[[str, Tensor, Tensor], VoxelRows],
    ) -> None:
        self._cases = []
        for case in tqdm(list(cases), desc="Features", unit="case"):
            sample = preprocessing(dict(case))
            self._cases.append({"case": case["case"], "rows": rows(case["case"], sample["image"], sample["label"])})

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._cases[index]


class RowsOfRandomPatch(Randomizable, Transform):
    """Give the rows of one patch of a case, drawn evenly: ``features``, ``label`` and ``weight``, as NumPy arrays.

    A random transform for `medssl.data.sampling.StepBatches` over cases ``{"case", "rows"}``.

    Example:
        >>> rows = VoxelRows(np.eye(3), np.array([0, 1, 2]), np.ones(3), np.array([1, 2]))
        >>> RowsOfRandomPatch().set_random_state(0)({"case": "a", "rows": rows})["label"].tolist()
        [0]
    """

    def __call__(self, case: Mapping[str, Any]) -> dict[str, Any]:
        """Return the rows of a patch of ``case``."""
        rows: VoxelRows = case["rows"]
        ends = np.cumsum(rows.counts)
        patch = self.R.randint(len(ends))
        part = slice(ends[patch] - rows.counts[patch], ends[patch])
        return {
            "case": case["case"],
            "features": np.asarray(rows.features[part]),
            "label": rows.labels[part],
            "weight": rows.weights[part],
        }


def collate_volumes(cases: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Give whole cases, each one patch, as a batch, for a data loader over cases ``{"case", "rows"}``."""
    batch: dict[str, list[Any]] = {"case": [case["case"] for case in cases]}
    for key, name in (("features", "features"), ("label", "labels"), ("weight", "weights")):
        batch[key] = [np.asarray(getattr(case["rows"], name)) for case in cases]
    return batch


def prepare_rows(
    batch: dict[str, Any], device: torch.device, non_blocking: bool, **_: Any
) -> tuple[Tensor, RowTargets, tuple[Tensor], dict[str, Any]]:
    """Give the features of all rows of a batch, as float32 on the device, what they should be, and their weights."""
    features, label, weight = (
        torch.cat([torch.as_tensor(np.asarray(part)) for part in batch[key]]).to(device, non_blocking=non_blocking)
        for key in ("features", "label", "weight")
    )
    targets = RowTargets(label, weight.float(), [len(part) for part in batch["label"]])
    return features.float(), targets, (targets.weight,), {}
