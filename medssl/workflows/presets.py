"""How long a pretraining takes on this machine, before it starts, and what a smaller one takes."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from medssl.packaging.sources import source_bundles
from medssl.workflows.recipes import find_recipe, merge

PRESETS = "pretrain/configs/presets"
# Voxels along an axis of the patch that is timed, at most.
_TIMED = 32
_LONG = 24 * 3600
_MEASURED = ", measured just now; less once other work on this machine ends"


def preset_names() -> list[str]:
    """Return the names that `--preset` takes.

    Example:
        >>> preset_names()
        ['paper', 'small']
    """
    return sorted(path.stem for path in (source_bundles() / PRESETS).glob("*.yaml"))


def said_of_time(recipe: Sequence[Path], overrides: Mapping[str, Any], preset: str | None) -> str:
    """Return a sentence on the time of a pretraining, and on that of every preset where none was chosen and it is long.

    Args:
        recipe: of the pretraining, with its preset.
        overrides: settings of the user.
        preset: that was chosen.
    """
    config = merge(recipe, {}, overrides)
    seconds = pretraining_seconds(config)
    said = f"{_steps(config):,} steps take about {in_words(seconds)} here{_MEASURED}."
    if preset is not None or seconds < _LONG:
        return said
    others = []
    for name in preset_names():
        other = merge([*recipe, find_recipe(PRESETS, name)], {}, overrides)
        others.append(f"--preset {name}: {_steps(other):,} steps, about {in_words(pretraining_seconds(other))}")
    return f"{said} {'; '.join(others)}."


def pretraining_seconds(config: Mapping[str, Any]) -> float:
    """Return about how long a pretraining takes here, by the time that its backbone takes for a part of a patch.

    What a method adds to its backbone is left out, and so are the patches, which are made beside it.

    Args:
        config: merged recipe.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = ConfigParser(dict(config))
    backbone = parser.get_parsed_content("backbone_def").to(device).train()
    patch = [int(size) for size in parser.get_parsed_content("patch_size")]
    timed = [min(size, _TIMED) for size in patch]
    image = torch.rand(2, config["in_channels"], *timed, device=device)
    seconds = 0.0
    # The first pass allocates memory and chooses kernels.
    for _ in range(2):
        begin = time.monotonic()
        sum(level.square().mean() for level in backbone(image)).backward()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = time.monotonic() - begin
    of_step = seconds * config["pairs_per_batch"] * math.prod(patch) / math.prod(timed)
    return of_step * _steps(config)


def _steps(config: Mapping[str, Any]) -> int:
    return int(config["max_epochs"] * config["steps_per_epoch"])


def in_words(seconds: float) -> str:
    """Return a length of time as text.

    Example:
        >>> [in_words(seconds) for seconds in (20, 3000, 30_000, 600_000)]
        ['1 min', '50 min', '8 h', '7 days']
    """
    if seconds < 2 * 3600:
        return f"{max(seconds / 60, 1):.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * _LONG else f"{seconds / _LONG:.0f} days"
