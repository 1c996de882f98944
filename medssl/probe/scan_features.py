"""Frozen features of labelled scans, of which a changed label computes only what it newly needs."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from monai.transforms import SpatialPad
from torch import Tensor, nn

from medssl.probe.frozen_rows import central_features
from medssl.probe.scan_voxels import choose_steady_voxels, read_features, write_features
from medssl.probe.voxel_features import VoxelRows

# Part of every key: raised when the same scan and settings would give other features or files.
VERSION = 1


class ScanFeatures:
    """Features of chosen voxels of scans, from the disk where they are there, else computed and kept.

    What is kept belongs to the scan, not to its label: the key is a hash of the preprocessed image, the backbone with
    its weights and the windows. Which voxels are kept follows the label, steadily
    (`medssl.probe.scan_voxels.choose_steady_voxels`): after a change of the label, features are computed of those
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
        self._backbone_hash = module_sha256(self.backbone)

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
        pad = SpatialPad(self.patch_size)
        padded = torch.as_tensor(np.asarray(pad(image)), dtype=torch.float32)
        labels = np.asarray(pad(label))[0].astype(np.int64)
        key = self._key(padded)
        voxels, weights = choose_steady_voxels(labels, self.num_voxels, seed=int(key, 16))
        features = self._features(case, key, padded, voxels)
        order = np.random.default_rng(int(key, 16)).permutation(len(voxels))
        parts = np.array_split(order, max(len(order) // self.rows_per_part, 1))
        counts = np.array([len(part) for part in parts])
        return VoxelRows(features[order], labels.ravel()[voxels[order]], weights[order], counts)

    def _key(self, image: Tensor) -> str:
        settings = [VERSION, self._backbone_hash, self.patch_size, self.overlap, tuple(image.shape)]
        digest = hashlib.sha256(json.dumps(settings).encode())
        digest.update(np.ascontiguousarray(image.numpy()))
        return digest.hexdigest()

    def _features(self, case: str, key: str, image: Tensor, voxels: np.ndarray) -> np.ndarray:
        path = self.folder / f"{case}-{key[:16]}.npz"
        found = read_features(path, key)
        missing = voxels if found is None else np.setdiff1d(voxels, found[0], assume_unique=True)
        if len(missing):
            new = self._computed(case, image, missing)
            features = np.empty((len(voxels), new.shape[1]), dtype=np.float32)
            features[np.searchsorted(voxels, missing)] = new
            if found is not None:
                again = np.isin(voxels, found[0], assume_unique=True)
                features[again] = found[1][np.searchsorted(found[0], voxels[again])]
            write_features(path, key, voxels, features)
            found = read_features(path, key)
        if found is None:
            raise OSError(f"The features {path} cannot be read back; is the disk sound?")
        return found[1][np.searchsorted(found[0], voxels)]

    def _computed(self, case: str, image: Tensor, voxels: np.ndarray) -> np.ndarray:
        indices = np.stack(np.unravel_index(voxels, image.shape[1:]), axis=1)
        features = central_features(self.backbone, image, indices, self.patch_size, self.overlap, self.device)
        if not np.isfinite(features).all():
            raise FloatingPointError(f"The backbone gives features of {case} that are not finite; check the scan.")
        self.computed += len(voxels)
        return features


def module_sha256(module: nn.Module) -> str:
    """Return a hash of the structure and the weights of a network, 64 hexadecimal digits.

    Example:
        >>> module_sha256(nn.Linear(1, 1, bias=False)) == module_sha256(nn.Linear(2, 1, bias=False))
        False
    """
    digest = hashlib.sha256(repr(module).encode())
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(np.ascontiguousarray(value.cpu().numpy()))
    return digest.hexdigest()
