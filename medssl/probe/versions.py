"""Linear probes that were fitted one after the other to a growing set of labels: the newest is in use."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medssl.files import replacing, write_json


def write_probe(folder: Path, head: nn.Module, report: Mapping[str, Any]) -> Path:
    """Keep a fitted head as the newest version, and return the file of its weights.

    The weights are written first, then the report without which they do not count, so that a kill leaves the former
    version in use.

    Args:
        folder: of all versions.
        head: its weights are kept.
        report: JSON; ``backbone`` and ``labels`` say what the head fits, see `newest_probe`.
    """
    taken = [int(path.stem) for path in folder.glob("*.pt") if path.stem.isdecimal()]
    path = folder / f"{max(taken, default=0) + 1:04d}.pt"
    with replacing(path) as temporary:
        torch.save(head.state_dict(), temporary)
    write_json(path.with_suffix(".json"), dict(report))
    return path


def newest_probe(folder: Path, backbone: str, labels: Mapping[int, str]) -> tuple[Path, dict[str, Any]] | None:
    """Return the weights and the report of the newest version on a backbone for some labels, or None.

    Args:
        folder: of all versions; may be missing.
        backbone: hash of the backbone.
        labels: label value to name.
    """
    wanted = {str(value): name for value, name in labels.items()}
    for path in sorted(folder.glob("*.json"), reverse=True):
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["backbone"] == backbone and report["labels"] == wanted:
            return path.with_suffix(".pt"), report
    return None
