"""Frozen features of labelled cases, computed once and kept on disk."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import SpatialPad
from torch import Tensor, nn

from medssl.probe.arrays import read_arrays, smallest_float, write_arrays
from medssl.probe.choose import choose_voxels, steadily
from medssl.probe.rows import VoxelRows, random_patch_rows, volume_rows
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


def _key(module: "hashlib._Hash", settings: Sequence[Any], *arrays: np.ndarray) -> str:
    digest = module.copy()
    digest.update(json.dumps([VERSION, *settings]).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _padded(image: Tensor, label: Tensor, patch_size: Sequence[int]) -> tuple[Tensor, np.ndarray]:
    pad = SpatialPad(patch_size)
    return torch.as_tensor(np.asarray(pad(image)), dtype=torch.float32), np.asarray(pad(label))[0].astype(np.int64)


def _require_finite(features: np.ndarray, case: str) -> None:
    if not np.isfinite(features).all():
        raise FloatingPointError(f"The backbone gives features of case {case} that are not finite; check the scan.")


def _read_back(folder: Path, key: str, case: str) -> dict[str, np.ndarray]:
    found = read_arrays(folder, key, case)
    if found is None:
        raise OSError(f"The features of case {case} cannot be read back from {folder}; is the disk sound?")
    return found


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
        self._backbone_hash = module_digest(self.backbone)

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
        padded, labels = _padded(image, label, self.patch_size)
        key = _key(self._backbone_hash, [compute.__name__, settings, padded.shape], padded.numpy(), labels)
        found = read_arrays(self.folder, key, case)
        if found is None:
            rows = compute(self.backbone, padded, labels, *settings, seed=int(key, 16), device=self.device)
            _require_finite(rows.features, case)
            kept = {**rows._asdict(), "features": smallest_float(rows.features)}
            write_arrays(self.folder, key, case, kept)
            found = _read_back(self.folder, key, case)
        return VoxelRows(found["features"], *(np.array(found[name]) for name in VoxelRows._fields[1:]))


class ScanFeatures:
    """Features of chosen voxels of scans, from the disk where they are there, else computed and kept.

    What is kept belongs to the scan, not to its label: the key is a hash of the preprocessed image, the backbone with
    its weights and the windows. Which voxels are kept follows the label, steadily
    (`medssl.probe.choose.steadily`): after a change of the label, features are computed of those
    voxels that were not chosen before, in the windows that hold any. The features are those that sliding-window
    inference sees: of every voxel, the one from the window in which it is most central.

    Args:
        folder: of the features.
        backbone: frozen; put in evaluation mode.
        patch_size: of the windows. Smaller volumes are padded to it.
        overlap: of neighbouring windows, as a part of their size.
        num_voxels: that are kept of a scan.
        rows_per_part: rows of every random part into which a scan's rows are divided, as patches to train on.
        device: where features are computed.

    Attributes:
        computed: voxels of which features were computed so far, as opposed to read.

    Example:
        >>> import tempfile
        >>> from medssl.networks.fpn import FPN
        >>> backbone = FPN(spatial_dims=2, base_channels=4, num_levels=2)
        >>> features = ScanFeatures(tempfile.mkdtemp(), backbone, (8, 8), num_voxels=100, rows_per_part=50)
        >>> image, label = torch.rand(1, 16, 16), torch.zeros(1, 16, 16)
        >>> rows = features.rows("scan", image, label)
        >>> rows.features.shape, rows.counts.tolist(), features.computed
        ((100, 12), [50, 50], 100)
        >>> label[:, :4, :4] = 1
        >>> _ = features.rows("scan", image, label)
        >>> features.computed < 150
        True
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        backbone: nn.Module,
        patch_size: Sequence[int],
        overlap: float = 0.5,
        num_voxels: int = 32768,
        rows_per_part: int = 1024,
        device: torch.device | str = "cpu",
    ) -> None:
        self.folder = Path(folder)
        self.backbone = backbone.to(device).eval()
        self.patch_size = tuple(patch_size)
        self.overlap = overlap
        self.num_voxels = num_voxels
        self.rows_per_part = rows_per_part
        self.device = torch.device(device)
        self.computed = 0
        self._backbone_hash = module_digest(self.backbone)

    def rows(self, case: str, image: Tensor, label: Tensor) -> VoxelRows:
        """Return the rows of a scan, divided into random parts.

        Args:
            case: id, part of the file name.
            image: preprocessed, shape ``(C, *spatial)``.
            label: integer values, shape ``(1, *spatial)``.

        Raises:
            FloatingPointError: if a feature is not finite.
            OSError: if the disk is full.
        """
        padded, labels = _padded(image, label, self.patch_size)
        key = _key(self._backbone_hash, ["scan", (self.patch_size, self.overlap), padded.shape], padded.numpy())
        voxels, weights = choose_voxels(labels, self.num_voxels, steadily(labels.size, seed=int(key, 16)))
        features = self._features(case, key, padded, voxels)
        order = np.random.default_rng(int(key, 16)).permutation(len(voxels))
        parts = np.array_split(order, max(len(order) // self.rows_per_part, 1))
        counts = np.array([len(part) for part in parts])
        return VoxelRows(features[order], labels.ravel()[voxels[order]], weights[order], counts)

    def _features(self, case: str, key: str, image: Tensor, voxels: np.ndarray) -> np.ndarray:
        found = read_arrays(self.folder, key, case)
        missing = voxels if found is None else np.setdiff1d(voxels, found["voxels"], assume_unique=True)
        if len(missing):
            new = self._computed(case, image, missing)
            features = np.empty((len(voxels), new.shape[1]), dtype=np.float32)
            features[np.searchsorted(voxels, missing)] = new
            if found is not None:
                again = np.isin(voxels, found["voxels"], assume_unique=True)
                features[again] = found["features"][np.searchsorted(found["voxels"], voxels[again])]
            write_arrays(self.folder, key, case, {"voxels": voxels, "features": smallest_float(features)})
            found = _read_back(self.folder, key, case)
        return found["features"][np.searchsorted(found["voxels"], voxels)]

    def _computed(self, case: str, image: Tensor, voxels: np.ndarray) -> np.ndarray:
        indices = np.stack(np.unravel_index(voxels, image.shape[1:]), axis=1)
        features = central_features(self.backbone, image, indices, self.patch_size, self.overlap, self.device)
        _require_finite(features, case)
        self.computed += len(voxels)
        return features
