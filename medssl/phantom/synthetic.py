"""Synthetic volumes: random anatomy in two random contrasts, an endless source of unlabelled cases."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from medssl.phantom.artefacts import degrade, grain_like, to_common_scale
from medssl.phantom.contrast import paint, random_means
from medssl.phantom.label_maps import AIR, random_label_map

# Voxels that the block of noise is larger than a volume along every axis, for different parts of it.
_SPARE = 16


class SyntheticVolumes(Dataset):
    """Cases that no patient had: ``{"case", "image", "foreground", "regions"}``, made when they are read.

    ``image`` (float32, shape ``(2, *shape)``, values from 0 to 1) shows one random scene (`random_label_map`) in two
    contrasts: brightness, texture and shading of every region, blur, slice thickness, bias field and noise are drawn
    anew for each channel; in one scene of five the second is the first one inverted. `OneContrastPerViewd` hands one
    channel to each view. ``foreground`` (bool, shape ``(1, *shape)``) is what is not air; ``regions`` (int32, the same
    shape) are those of the scene.

    A case is a function of the seed and its number alone.

    The idea is that of SynthSeg (Billot et al., 2023), SynthMorph (Hoffmann et al., 2022) and anatomix (Dey et al.,
    2025): features learnt from shapes whose brightness means nothing hold for any scanner.

    Args:
        patch_size: voxels of a patch along each of two or three axes.
        room: how many times longer than a patch a volume is.
        num_volumes: how many different cases there are.
        seed: of all cases.
        mean: of the body, to which both contrasts are brought but for a random tenth; as in the recipe ``mr``.
        deviation: of the body.

    Raises:
        ValueError: if the patch does not have two or three axes of at least 8 voxels.

    Example:
        >>> volumes = SyntheticVolumes((24, 24, 16), num_volumes=100)
        >>> case = volumes[7]
        >>> case["image"].shape, case["foreground"].shape, torch.equal(case["image"], volumes[7]["image"])
        (torch.Size([2, 36, 36, 24]), torch.Size([1, 36, 36, 24]), True)
    """

    def __init__(
        self,
        patch_size: Sequence[int],
        room: float = 1.5,
        num_volumes: int = 100_000,
        seed: int = 0,
        mean: float = 0.45,
        deviation: float = 0.2,
    ) -> None:
        if len(patch_size) not in (2, 3) or min(patch_size) < 8 or room < 1:
            raise ValueError(
                "Synthetic volumes need a patch_size of two or three axes of at least 8 voxels, and room of at least "
                f"1, got {list(patch_size)} and {room}."
            )
        self.shape = tuple(math.ceil(size * room) for size in patch_size)
        self.num_volumes = num_volumes
        self.seed = seed
        self.mean, self.deviation = mean, deviation
        # A slice is a volume with a last axis of one voxel.
        self._grid = (*self.shape, 1)[:3]
        block = [size + _SPARE if size > 1 else 1 for size in self._grid]
        self._noise = np.random.default_rng((seed, 0)).standard_normal(block, dtype=np.float32)

    def __len__(self) -> int:
        return self.num_volumes

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.num_volumes:
            raise IndexError(f"There is no synthetic volume {index} among {self.num_volumes}.")
        rng = np.random.default_rng((self.seed, 1, index))
        labels = random_label_map(rng, self._grid)
        body = labels != AIR
        first = random_means(rng)
        second = 1 - first if rng.uniform() < 0.2 else random_means(rng)
        image = np.stack([self._image(rng, labels, body, means) for means in (first, second)])
        return {
            "case": f"synthetic_{index}",
            "image": torch.from_numpy(image.reshape(2, *self.shape)),
            "foreground": torch.from_numpy(body.reshape(1, *self.shape)),
            "regions": torch.from_numpy(labels.reshape(1, *self.shape).astype(np.int32)),
        }

    def _image(
        self,
        rng: np.random.Generator,
        labels: np.ndarray,
        body: np.ndarray,
        means: np.ndarray,
    ) -> np.ndarray:
        """Return one contrast of a scene."""
        image = paint(rng, labels, means, grain_like(rng, self._noise, labels.shape))
        image = degrade(rng, image, grain_like(rng, self._noise, labels.shape))
        mean, deviation = np.array((self.mean, self.deviation)) * rng.uniform(0.9, 1.1, 2)
        return to_common_scale(image, body, float(mean), float(deviation))
