"""Frozen features of labelled cases, computed once and kept on disk."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import SpatialPad
from torch import Tensor, nn
from tqdm.auto import tqdm

from medssl.probe.frozen_rows import random_patch_rows, volume_rows
from medssl.probe.voxel_features import VoxelRows, read_rows, write_rows

# Part of every key: raised when the same settings would give other rows or files.
VERSION = 1


class FeatureCache:
    """Features of chosen voxels of a case, from the disk where they are there, else computed and kept.

    The key of a case is a hash of all that decides them: the image and the label after preprocessing, the backbone
    with its weights, the settings and a version. So whatever changes, former files are not found rather than wrong.
    Several runs and processes can share a folder.

    Args:
        folder: of the features.
        backbone: frozen; put in evaluation mode.
        patch_size: of training and of the windows of inference. Smaller volumes are padded to it.
        num_classes: number of foreground classes.
        num_patches: random patches a case that `patches` keeps.
        rows_per_patch: voxels that it keeps of each, half background, half shared evenly by the classes.
        overlap: of the windows of `volume`.
        rows_per_volume: voxels that `volume` keeps.
        device: where features are computed.

    Example:
        >>> import tempfile
        >>> from medssl.networks.fpn import FPN
        >>> backbone = FPN(spatial_dims=2, base_channels=4, num_levels=2)
        >>> cache = FeatureCache(tempfile.mkdtemp(), backbone, (8, 8), num_classes=1, num_patches=2, rows_per_patch=50)
        >>> rows = cache.patches("scan", torch.rand(1, 12, 12), torch.zeros(1, 12, 12))
        >>> rows.features.shape, rows.counts.tolist()
        ((100, 12), [50, 50])
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        backbone: nn.Module,
        patch_size: Sequence[int],
        num_classes: int,
        num_patches: int = 64,
        rows_per_patch: int = 1024,
        overlap: float = 0.5,
        rows_per_volume: int = 32768,
        device: torch.device | str = "cpu",
    ) -> None:
        self.folder = Path(folder)
        self.backbone = backbone.to(device).eval()
        self.patch_size = tuple(patch_size)
        self.num_classes = num_classes
        self.num_patches = num_patches
        self.rows_per_patch = rows_per_patch
        self.overlap = overlap
        self.rows_per_volume = rows_per_volume
        self.device = torch.device(device)
        self._backbone_hash = _hash_of_module(self.backbone)

    def patches(self, case: str, image: Tensor, label: Tensor) -> VoxelRows:
        """Return rows of random patches of a case, to train on.

        Args:
            case: id, part of the file names.
            image: preprocessed, shape ``(C, *spatial)``.
            label: integer values, shape ``(1, *spatial)``.

        Raises:
            FloatingPointError: if a feature is not finite.
            OSError: if the disk is full.
        """
        settings = (self.patch_size, self.num_classes, self.num_patches, self.rows_per_patch)
        return self._rows(random_patch_rows, settings, case, image, label)

    def volume(self, case: str, image: Tensor, label: Tensor) -> VoxelRows:
        """Return rows of the whole volume of a case, to validate on.

        The features are those that sliding-window inference sees: of every voxel, the one from the window in which it
        is most central. Arguments and errors are those of `patches`.
        """
        settings = (self.patch_size, self.overlap, self.rows_per_volume)
        return self._rows(volume_rows, settings, case, image, label)

    def _rows(
        self, compute: Callable[..., VoxelRows], settings: tuple[Any, ...], case: str, image: Tensor, label: Tensor
    ) -> VoxelRows:
        pad = SpatialPad(self.patch_size)
        padded = torch.as_tensor(np.asarray(pad(image)), dtype=torch.float32)
        labels = np.asarray(pad(label))[0].astype(np.int64)
        digest = self._backbone_hash.copy()
        digest.update(json.dumps([VERSION, compute.__name__, settings, padded.shape]).encode())
        digest.update(np.ascontiguousarray(padded.numpy()))
        digest.update(np.ascontiguousarray(labels))
        key = digest.hexdigest()
        found = read_rows(self.folder, key, case)
        if found is None:
            rows = compute(self.backbone, padded, labels, *settings, seed=int(key, 16), device=self.device)
            if not np.isfinite(rows.features).all():
                raise FloatingPointError(f"The backbone gives features of case {case} that are not finite.")
            write_rows(self.folder, key, case, rows)
            found = read_rows(self.folder, key, case)
        if found is None:
            raise OSError(f"The features of case {case} cannot be read back from {self.folder}; is the disk sound?")
        return found


def _hash_of_module(module: nn.Module) -> "hashlib._Hash":
    digest = hashlib.sha256(repr(module).encode())
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(np.ascontiguousarray(value.cpu().numpy()))
    return digest


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
