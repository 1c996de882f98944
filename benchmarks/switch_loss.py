"""Loss after 200 steps on phantoms with every switch of the training step, from the same seed and batches.

    python benchmarks/switch_loss.py [--quick]

A small network (8 channels x 3 levels) on patches of 32 x 32 x 16 of CT phantoms, 2 pairs per step.
"""

import copy
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from medssl.engines.batches import prepare_views
from medssl.phantom.dataset import write_phantom
from medssl.speed.gate import computes_as_float32
from medssl.speed.switches import Accelerated
from medssl.workflows.recipes import find_recipe, merge

SWITCHES: list[tuple[str, ...]] = [
    (),
    ("channels_last",),
    ("activation_checkpointing",),
    ("amp",),
    ("amp", "channels_last"),
    ("amp", "channels_last", "activation_checkpointing"),
]
SETTINGS = {
    "base_channels": 8,
    "num_levels": 3,
    "pairs_per_batch": 2,
    "num_voxels": 128,
    "learning_rate": 0.001,
}
LAST = 20


def recipe(folder: Path, settings: dict[str, Any]) -> ConfigParser:
    """Write phantoms to a folder; return the Kats recipe for them."""
    datalist = write_phantom(folder / "phantoms", num_cases=4, num_labelled=1, num_validation=0, num_test=0)
    files = [("pretrain/configs", "train"), ("pretrain/configs/methods", "kats"), ("data", "ct"), ("data", "phantom")]
    return ConfigParser(merge([find_recipe(*file) for file in files], {"datalist": str(datalist)}, settings))


def train(method: nn.Module, batches: list[dict], switches: tuple[str, ...]) -> list[float]:
    """Train with some switches on; return the loss of every step."""
    network = Accelerated(method, **dict.fromkeys(switches, True)).train()
    optimizer = torch.optim.Adam(method.parameters(), lr=SETTINGS["learning_rate"])
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = network(batch)["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def loss_table(full: bool) -> str:
    """A line for every set of switches: parity before the first step, loss at the end."""
    steps = 200 if full else 25
    with tempfile.TemporaryDirectory() as folder:
        parser = recipe(Path(folder), SETTINGS)
        source = parser.get_parsed_content("train::batches")
        batches = [prepare_views(source[step], torch.device("cpu"), False)[0] for step in range(steps)]
        torch.manual_seed(0)
        method = parser.get_parsed_content("method_def")
    lines = [f"mean loss of the last {LAST} of {steps} steps, by switches (the gate's report on the first)"]
    for switches in SWITCHES:
        network = Accelerated(copy.deepcopy(method), **dict.fromkeys(switches, True))
        report = computes_as_float32(network, batches[0])[1]
        loss = fmean(train(copy.deepcopy(method), batches, switches)[-LAST:])
        lines.append(f"{loss:.4f}  {' + '.join(switches) or 'none'} ({report})")
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(2)
    print(loss_table(full="--quick" not in sys.argv))
