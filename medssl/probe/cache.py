"""Frozen features of labelled cases, computed once and kept on disk."""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import SpatialPad
from torch import Tensor, nn

from medssl.ops.windows import plan_windows
from medssl.probe.arrays import read_arrays, smallest_float, write_arrays
from medssl.probe.choose import choose_voxels, steadily
from medssl.probe.rows import VoxelRows, random_patch_rows
from medssl.probe.windows import central_features

# Part of every key: raised when the same settings would give other features or files.
VERSION = 1


def module_digest(module: nn.Module) -> "hashlib._Hash":
    """Hash the structure and the weights of a network.

    Example:
        >>> one, other = (module_digest(nn.Linear(size, 1, bias=False)).hexdigest() for size in (1, 2))
        >>> one == other
        False
    """
    digest = hashlib.sha256(repr(module).encode())
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(np.ascontiguousarray(value.cpu().numpy()))
    return digest


class FeatureCache:
    """Features of chosen voxels of a case, from the disk where they are there, else computed and kept.

    They are found by a hash of all that decides them: the preprocessed image, the backbone with its weights, the
    settings and a version. So whatever changes, former features are not found rather than wrong. Several runs and
    processes can share a folder.

    Args:
        folder: of the features.
        backbone: frozen; put in evaluation mode.
        patch_size: of training and of the windows of inference. Smaller volumes are padded to it.
        num_classes: number of foreground classes.
        num_patches: random patches a case that `patches` keeps.
        rows_per_patch: voxels that it keeps of each, half background, half shared evenly by the classes.
        overlap: of the windows of `volume`, at least.
        stride: voxels per cell of the backbone's coarsest level: these windows then grow in its steps, see
            `medssl.ops.windows.plan_windows`. None keeps `patch_size`.
        upsampling: how the head reads coarser levels, see `medssl.ops.pyramid.interpolate_voxels`.
        rows_per_volume: voxels that `volume` returns.
        device: where features are computed.

    Attributes:
        computed: voxels of volumes of which features were computed so far, as opposed to read.

    Example:
        >>> import tempfile
        >>> from medssl.networks.fpn import FPN
        >>> backbone = FPN(spatial_dims=2, base_channels=4, num_levels=2)
        >>> cache = FeatureCache(tempfile.mkdtemp(), backbone, (8, 8), num_classes=1, rows_per_volume=100)
        >>> image, label = torch.rand(1, 16, 16), torch.zeros(1, 16, 16)
        >>> cache.volume("scan", image, label).features.shape, cache.computed
        ((100, 12), 100)
        >>> label[:, :4, :4] = 1
        >>> rows = cache.volume("scan", image, label)
        >>> cache.computed < 150
        True
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
        stride: int | None = None,
        upsampling: str = "nearest",
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
        self.stride = stride
        self.upsampling = upsampling
        self.device = torch.device(device)
        self.computed = 0
        self._backbone_hash = module_digest(self.backbone)

    def patches(self, case: str, image: Tensor, label: Tensor) -> VoxelRows:
        """Return rows of random patches of a case, to train on; they follow the label too.

        Args:
            case: id, part of the file names.
            image: preprocessed, shape ``(C, *spatial)``.
            label: integer values, shape ``(1, *spatial)``.

        Raises:
            FloatingPointError: if a feature is not finite.
            OSError: if the disk is full.
        """
        padded, labels = self._padded(image, label, self.patch_size)
        settings = (self.patch_size, self.num_classes, self.num_patches, self.rows_per_patch)
        key = self._key(["random_patch_rows", settings, padded.shape], padded.numpy(), labels)
        found = read_arrays(self.folder, key, case)
        if found is None:
            title = f"Features of {case}"
            seed = int(key, 16)
            rows = random_patch_rows(
                self.backbone, padded, labels, *settings, seed, self.device, title, self.upsampling
            )
            _require_finite(rows.features, case)
            write_arrays(self.folder, key, case, {**rows._asdict(), "features": smallest_float(rows.features)})
            found = read_arrays(self.folder, key, case)
        if found is None:
            raise OSError(f"The features of case {case} cannot be read back from {self.folder}; is the disk sound?")
        return VoxelRows(found["features"], *(np.array(found[name]) for name in VoxelRows._fields[1:]))

    def volume(self, case: str, image: Tensor, label: Tensor, num_voxels: int | None = None) -> VoxelRows:
        """Return rows of the whole volume of a case.

        The features are those that sliding-window inference sees: of every voxel, the one from the window in which it
        is most central. What is kept belongs to the scan, not to its label, and which voxels are chosen follows the
        label steadily (`medssl.probe.choose.steadily`): after a change of the label, or for more voxels, features are
        computed only of voxels that were not chosen before. Arguments and errors are those of `patches`.

        Args:
            case: see `patches`.
            image: see `patches`.
            label: see `patches`.
            num_voxels: the most that are returned; None takes `rows_per_volume`.
        """
        plan = plan_windows(
            *(image.shape[1:], self.patch_size, self.overlap), stride=self.stride, largest_growth=math.inf
        )
        padded, labels = self._padded(image, label, plan.roi_size)
        windows = (plan.roi_size, plan.overlap)
        key = self._key(["volume", windows, padded.shape], padded.numpy())
        take = steadily(labels.size, seed=int(key, 16))
        voxels, weights = choose_voxels(labels, num_voxels or self.rows_per_volume, take)
        features = self._features(case, key, padded, voxels, windows)
        return VoxelRows(features, labels.ravel()[voxels], weights, np.array([len(voxels)]))

    @staticmethod
    def _padded(image: Tensor, label: Tensor, size: Sequence[int]) -> tuple[Tensor, np.ndarray]:
        pad = SpatialPad(size)
        values = torch.as_tensor(np.asarray(pad(image)), dtype=torch.float32)
        return values, np.asarray(pad(label))[0].astype(np.int64)

    def _key(self, settings: Sequence[Any], *arrays: np.ndarray) -> str:
        digest = self._backbone_hash.copy()
        digest.update(json.dumps([VERSION, self.upsampling, *settings]).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()

    def _features(
        self, case: str, key: str, image: Tensor, voxels: np.ndarray, windows: tuple[Sequence[int], Sequence[float]]
    ) -> np.ndarray:
        found = read_arrays(self.folder, key, case)
        known = np.empty(0, dtype=np.int64) if found is None else found["voxels"]
        missing = np.setdiff1d(voxels, known, assume_unique=True)
        if len(missing):
            indices = np.stack(np.unravel_index(missing, image.shape[1:]), axis=1)
            title = f"Features of {case}"
            new = central_features(self.backbone, image, indices, *windows, self.device, title, self.upsampling)
            _require_finite(new, case)
            self.computed += len(missing)
            features = new if found is None else np.concatenate([found["features"], new])
            order = np.argsort(known := np.concatenate([known, missing]))
            found = {"voxels": known[order], "features": smallest_float(features)[order]}
            write_arrays(self.folder, key, case, found)
        return found["features"][np.searchsorted(found["voxels"], voxels)]


def _require_finite(features: np.ndarray, case: str) -> None:
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise FloatingPointError(
            f"The backbone gives features of case {case} that are not finite, at {np.count_nonzero(~finite)} of "
            f"{len(finite)} voxels, so nothing is fitted to them. Check the scan with `medssl check`, and the weights."
        )
