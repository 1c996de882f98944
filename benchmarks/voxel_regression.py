"""Print how well a logistic regression separates classes by a backbone's features of single voxels.

The linear probe of a protocol trains its head for few steps; this shows what is in the features. It fits 3,000 random
voxels of each of 8 training cases, and prints the Dice of each class on random voxels of 8 test cases: once with the
running statistics of batch norm, as in every evaluation, and once with those of each scan.

    python benchmarks/voxel_regression.py DATALIST RUN [RUN ...]
"""

import copy
import sys
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from medssl.data.datalist import load_section
from medssl.ops.pyramid import interpolate_voxels
from medssl.runs.folder import read_config

NUM_CASES, NUM_VOXELS = 8, 3000


def load(config: dict, datalist: str, section: str) -> list[dict]:
    """Preprocessed cases with their labels."""
    settings = {**config, "keys": ["image", "label"], "interpolation": ["bilinear", "nearest"]}
    transform = Compose(ConfigParser(settings).get_parsed_content("image_transforms"))
    cases = load_section(datalist, section)[:NUM_CASES]
    return [transform({"image": case["image"], "label": case["label"]}) for case in cases]


@torch.no_grad()
def voxels(backbone: nn.Module, cases: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of random voxels."""
    rng, rows, labels = np.random.default_rng(0), [], []
    for case in cases:
        image, label = case["image"].as_tensor()[None], case["label"].as_tensor()[0].numpy().astype(int)
        index = np.stack([rng.integers(0, size, NUM_VOXELS) for size in label.shape], axis=1)
        places = torch.from_numpy(np.concatenate([np.zeros_like(index[:, :1]), index], axis=1))
        rows.append(interpolate_voxels(backbone(image), places, image.shape[2:]).numpy())
        labels.append(label[tuple(index.T)])
    return np.concatenate(rows), np.concatenate(labels)


def dice(backbone: nn.Module, training: list[dict], test: list[dict]) -> list[float]:
    """The Dice of every class but 0."""
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200, C=0.1))
    regression.fit(*voxels(backbone, training))
    rows, label = voxels(backbone, test)
    pred = regression.predict(rows)
    classes = [value for value in np.unique(label) if value]
    return [2 * ((pred == k) & (label == k)).sum() / ((pred == k).sum() + (label == k).sum()) for k in classes]


def main() -> None:
    """Print two lines per run."""
    datalist, *runs = sys.argv[1:]
    torch.set_num_threads(1)
    for run in map(Path, runs):
        config = read_config(run)
        backbone = ConfigParser(config).get_parsed_content("backbone_def")
        backbone.load_state_dict(torch.load(run / "backbone.pt", weights_only=True))
        training, test = load(config, datalist, "training"), load(config, datalist, "test")
        for name, is_training in (("running statistics", False), ("statistics of the scan", True)):
            values = dice(copy.deepcopy(backbone).train(is_training), training, test)
            print(run.name, name, " ".join(f"{value:.2f}" for value in values), flush=True)


if __name__ == "__main__":
    main()
