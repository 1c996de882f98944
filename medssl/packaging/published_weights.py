"""Checkpoints that the authors of vox2vec and of Kats et al. published, as weights of `medssl.networks.fpn.FPN`."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from medssl.networks.fpn import FPN
from medssl.networks.state_dicts import read_state_dict, require_fit

# Name in the published network to name in FPN. Both keep the decoder's lists coarsest first.
_RENAMES = (
    (re.compile(r"first_conv\.(.+)"), r"stem.\1"),
    (re.compile(r"left_blocks\.(\d+)\.layers\.(\d+)\.layers\.(.+)"), r"encoder.\1.\2.layers.\3"),
    (re.compile(r"down_blocks\.(\d+)\.1\.(.+)"), r"downs.\1.1.\2"),
    (re.compile(r"bottom_block\.layers\.(\d+)\.layers\.(.+)"), r"bottom.\1.layers.\2"),
    (re.compile(r"up_blocks\.(\d+)\.0\.(.+)"), r"ups.\1.\2"),
    (re.compile(r"skip_blocks\.(\d+)\.(.+)"), r"laterals.\1.\2"),
    (re.compile(r"right_blocks\.(\d+)\.layers\.(\d+)\.layers\.(.+)"), r"decoder.\1.\2.layers.\3"),
)
# Parts of a whole training checkpoint that are not transferred.
_LEFT_OUT = ("proj_head.", "rest_head.")


@dataclass(frozen=True)
class PublishedWeights:
    """The backbone of a published checkpoint.

    Attributes:
        path: of the checkpoint.
        settings: of the backbone that the tensors fit, read from their shapes, as a recipe takes them.
        tensors: its state dict.
        names: name of every tensor in the checkpoint to its name in `tensors`.
        left_out: names in the checkpoint that are not part of the backbone.
        changes: name in the checkpoint to what was done to its tensor.
    """

    path: Path
    settings: dict[str, int]
    tensors: dict[str, Tensor]
    names: dict[str, str]
    left_out: list[str] = field(default_factory=list)
    changes: dict[str, str] = field(default_factory=dict)


def read_published_weights(path: str | os.PathLike[str]) -> PublishedWeights:
    """Return the backbone of a checkpoint of vox2vec (Goncharov et al., 2023) or of Kats et al. (2024).

    The state dict may be bare or under the key ``state_dict``, its names with or without ``module.`` and
    ``backbone.``. Width and depth follow from the shapes; every tensor must then fit an `FPN` of that width and depth.

    Args:
        path: file written by ``torch.save``; nothing but tensors, numbers and texts is read from it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, holds other objects, or is of another network; the message says how that shows.
    """
    path = Path(path)
    state = read_state_dict(path)
    left_out = sorted(name for name in state if name.startswith(_LEFT_OUT))
    theirs = {name: state[name] for name in state if name not in left_out}
    names = {name: _renamed(name, theirs[name], path) for name in theirs}
    tensors = {ours: theirs[name] for name, ours in names.items()}
    stem = _stem(tensors, path)
    num_levels = 1 + len({name.split(".")[1] for name in tensors if name.startswith("downs.")})
    settings = {
        "spatial_dims": stem.ndim - 2,
        "in_channels": stem.shape[1],
        "base_channels": len(stem),
        "num_levels": num_levels,
    }
    what = f"a pyramid of {num_levels} levels whose finest has {len(stem)} channels"
    require_fit(FPN(**settings), tensors, {ours: name for name, ours in names.items()}, what, path)
    return PublishedWeights(path, settings, tensors, names, left_out)


def mapping_report(weights: PublishedWeights) -> Iterator[str]:
    """Yield one line per tensor: its name in the checkpoint, its name in medssl and its shape."""
    for name, ours in weights.names.items():
        change = f": {weights.changes[name]}" if name in weights.changes else ""
        yield f"{name} -> {ours} {tuple(weights.tensors[ours].shape)}{change}"
    for name in weights.left_out:
        yield f"{name} -> left out, not part of the backbone"


def _renamed(name: str, tensor: Tensor, path: Path) -> str:
    for pattern, ours in _RENAMES:
        if pattern.fullmatch(name):
            return pattern.sub(ours, name)
    raise ValueError(
        f"{path} is of another network: {name} {tuple(tensor.shape)} is not a layer of the feature pyramid of vox2vec "
        "and of Kats et al. `medssl weights inspect` says what the file holds."
    )


def _stem(tensors: Mapping[str, Tensor], path: Path) -> Tensor:
    stem = tensors.get("stem.weight")
    if stem is None or stem.ndim not in (4, 5) or set(stem.shape[2:]) != {3}:
        found = "is missing" if stem is None else f"has the shape {tuple(stem.shape)}"
        raise ValueError(f"{path} is of another network: first_conv.weight {found}; a 3-wide convolution was expected.")
    return stem
