"""Print how much a backbone's features differ between cases, relative to how much they differ within a case.

For every pyramid level, the median over channels of: standard deviation over cases of a channel's mean, divided by
the mean over cases of its standard deviation within a case. Near 0, one standardisation fits all cases.

    python benchmarks/feature_spread.py DATALIST RUN [RUN ...]
"""

import sys
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from medssl.data.datalist import load_section
from medssl.runs.folder import read_config

NUM_CASES = 12


@torch.no_grad()
def spread(run: Path, datalist: str) -> list[float]:
    """The ratio of every level, finest first."""
    config = read_config(run)
    backbone = ConfigParser(config).get_parsed_content("backbone_def").eval()
    backbone.load_state_dict(torch.load(run / "backbone.pt", weights_only=True))
    transform = Compose(ConfigParser(config).get_parsed_content("image_transforms"))
    cases = [transform({"image": case["image"]}) for case in load_section(datalist, "test")[:NUM_CASES]]
    pyramids = [backbone(case["image"].as_tensor()[None]) for case in cases]
    ratios = []
    for level in zip(*pyramids, strict=True):
        means = torch.stack([features.flatten(2).mean(2)[0] for features in level])
        within = torch.stack([features.flatten(2).std(2)[0] for features in level])
        ratios.append((means.std(0) / within.mean(0)).median().item())
    return ratios


if __name__ == "__main__":
    for folder in map(Path, sys.argv[2:]):
        print(folder.name, " ".join(f"{ratio:.2f}" for ratio in spread(folder, sys.argv[1])))
