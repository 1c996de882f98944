"""A linear probe that is solved rather than trained: what abdomen_ct.py and mr_scaling.py judge features with.

Rows of all levels of a frozen pyramid are standardised by the labelled voxels; a softmax layer on them is fitted by
L-BFGS to cross-entropy + soft Dice. Voxels are drawn evenly by class and weighted by the square root of what each
stands for.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.packaging.sources import source_bundles
from medssl.workflows.backbones import backbone_settings, load_backbone

L2 = 1e-4


@dataclass(frozen=True)
class Rows:
    """Features of some voxels of a scan, their classes, and how many voxels each stands for."""

    features: Tensor
    classes: Tensor
    counts: Tensor


def labelled_transform(data: Sequence[str], settings: dict[str, Any]) -> Compose:
    """Give the preprocessing of data recipes, from files of image and label to both on one grid."""
    files = [str(source_bundles() / "data" / f"{name}.yaml") for name in data]
    parser = ConfigParser(ConfigParser.load_config_files(files))
    parser.update({"keys": ["image", "label"], "interpolation": ["bilinear", "nearest"], **settings})
    return Compose(parser.get_parsed_content("image_transforms"))


def run_backbone(run: Path, trained: bool, seed: int = 0) -> nn.Module:
    """Give the backbone of a pretraining run or of shipped weights, or the same network with random weights."""
    settings = backbone_settings(run)
    torch.manual_seed(seed)
    backbone: nn.Module = ConfigParser({"backbone_def": settings["backbone_def"]}).get_parsed_content("backbone_def")
    if trained:
        return load_backbone(run)
    return backbone.eval()


def pyramid(backbone: nn.Module, image: Tensor) -> list[Tensor]:
    """Give the levels of a whole scan, shapes ``(C, X, Y, Z)``, finest first; computed in bfloat16."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return [level[0].float() for level in backbone(image[None])]


def draw_rows(levels: Sequence[Tensor], label: Tensor, per_class: int, background: int, seed: int) -> Rows:
    """Give rows of voxels drawn by class, of a label of shape ``(X, Y, Z)``."""
    rng, values = np.random.default_rng(seed), label.flatten().numpy()
    chosen, counts = [], []
    for value in np.unique(values):
        places = np.flatnonzero(values == value)
        number = min(len(places), per_class if value else background)
        chosen.append(rng.choice(places, number, replace=False))
        counts.append(np.full(number, len(places) / number, np.float32))
    places = np.concatenate(chosen)
    voxels = np.unravel_index(places, label.shape)
    rows = torch.cat([level[(slice(None), *(axis >> i for axis in voxels))].T for i, level in enumerate(levels)], 1)
    return Rows(rows, torch.from_numpy(values[places].astype(np.int64)), torch.from_numpy(np.concatenate(counts)))


class SolvedProbe:
    """A linear map from the rows of a pyramid to classes, solved for some labelled scans.

    Args:
        scans: rows of each labelled scan.
        num_classes: with the background.
        steps: most iterations of L-BFGS.

    Attributes:
        gradient: largest entry of the gradient at the end.
    """

    def __init__(self, scans: Sequence[Rows], num_classes: int, steps: int = 150) -> None:
        x, y = torch.cat([scan.features for scan in scans]), torch.cat([scan.classes for scan in scans])
        share = torch.cat([scan.counts for scan in scans]).sqrt()
        mean, deviation = x.mean(0), x.std(0).clamp_min(1e-6)
        loss = _Loss((x - mean) / deviation, y, share / share.sum(), num_classes)
        self.gradient = loss.solve(steps)
        self.weight = loss.weight.detach() / deviation[:, None]
        self.bias = loss.bias.detach() - mean @ self.weight

    def segment(self, levels: Sequence[Tensor]) -> Tensor:
        """Give the class of every voxel of a scan: one map a level, upsampled (nearest) and summed."""
        parts = self.weight.split([level.shape[0] for level in levels])
        maps = [torch.einsum("cxyz,ck->kxyz", level, part) for level, part in zip(levels, parts, strict=True)]
        logits = maps[-1]
        for finer in maps[-2::-1]:
            x, y, z = finer.shape[1:]
            logits = finer + F.interpolate(logits[None], scale_factor=2.0, mode="nearest")[0][:, :x, :y, :z]
        return (logits + self.bias[:, None, None, None]).argmax(0)


class _Loss:
    def __init__(self, x: Tensor, y: Tensor, share: Tensor, num_classes: int) -> None:
        self.x, self.y, self.share = x, y, share[:, None]
        self.weight = torch.zeros(x.shape[1], num_classes, requires_grad=True)
        self.bias = torch.zeros(num_classes, requires_grad=True)
        self.present = [value for value in range(1, num_classes) if (y == value).any()]
        self.truth = F.one_hot(y, num_classes)[:, self.present].float()

    def __call__(self) -> Tensor:
        log_p = (self.x @ self.weight + self.bias).log_softmax(1)
        entropy = -(self.share * log_p.gather(1, self.y[:, None])).sum()
        p = log_p[:, self.present].exp()
        overlap, size = (self.share * p * self.truth).sum(0), (self.share * (p + self.truth)).sum(0)
        return entropy + (1 - 2 * overlap / size).mean() + L2 * self.weight.square().sum()

    def solve(self, steps: int) -> float:
        solver = torch.optim.LBFGS(
            [self.weight, self.bias], max_iter=steps, history_size=20, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            solver.zero_grad()
            loss = self()
            loss.backward()
            return loss

        solver.step(closure)
        return max(part.grad.abs().max().item() for part in (self.weight, self.bias))


def dice(segmented: Tensor, truth: Tensor, num_classes: int) -> list[float]:
    """Give the Dice of each foreground class; NaN where the class is not there."""
    pairs = [(segmented == value, truth == value) for value in range(1, num_classes)]
    return [(2 * (a & b).sum() / (a.sum() + b.sum())).item() if b.any() else float("nan") for a, b in pairs]


def labelled_draw(cases: Sequence[str], draw: int, most: int) -> list[str]:
    """Give the labelled cases of a draw; the first n of them are those of n labels."""
    return random.Random(100 + draw).sample(sorted(cases), most)


def interval(differences: np.ndarray, samples: int = 10000) -> tuple[float, float]:
    """Give the 95 % interval of the mean of paired differences ``(draws, cases)``, both drawn anew."""
    rng, (draws, cases) = np.random.default_rng(0), differences.shape
    means = [
        differences[rng.integers(draws, size=draws)][:, rng.integers(cases, size=cases)].mean() for _ in range(samples)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
