"""Residual networks in the format of torchvision, as weights of `medssl.networks.resnet.ResNet`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from medssl.networks.imagenet import CLASSIFIER, torchvision_tensors
from medssl.networks.resnet import ResNet
from medssl.networks.state_dicts import read_state_dict
from medssl.packaging.published_weights import PublishedWeights

# Blocks of every stage and whether they are bottlenecks, as in He et al. (2016, Table 1).
_DEPTHS = {((2, 2, 2, 2), False): 18, ((3, 4, 6, 3), False): 34, ((3, 4, 6, 3), True): 50}
_BLOCK = re.compile(r"layer([1-4])\.(\d+)\..+")


def torchvision_depth(state: Mapping[str, Tensor]) -> int | None:
    """Return the depth of the residual network in a state dict with torchvision's names, or None for any other.

    Args:
        state: tensors by name.

    Example:
        >>> torchvision_depth(ResNet(depth=18).state_dict())
        18
    """
    blocks = {found.groups() for found in map(_BLOCK.fullmatch, state) if found}
    counts = tuple(sum(stage == str(number) for stage, _ in blocks) for number in (1, 2, 3, 4))
    stem = state.get("conv1.weight")
    if stem is None or stem.ndim != 4:
        return None
    return _DEPTHS.get((counts, "layer1.0.conv3.weight" in state))


def read_torchvision_weights(path: str | os.PathLike[str], depth: int, in_channels: int) -> PublishedWeights:
    """Return the backbone in a state dict with the names of torchvision's ``resnet18``, ``resnet34`` or ``resnet50``.

    See `medssl.networks.imagenet.torchvision_tensors` for what is taken over.

    Args:
        path: file written by ``torch.save``; nothing but tensors, numbers and texts is read from it.
        depth: layers of the network that the file should hold.
        in_channels: of the images that the backbone is to take: those of the file, or 1 where it has 3.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, holds other objects, is of another network or takes other images; the message says
            how that shows.
    """
    path = Path(path)
    state = read_state_dict(path)
    stem = state.get("conv1.weight")
    if stem is None or stem.ndim != 4:
        found = "is missing" if stem is None else f"has the shape {tuple(stem.shape)}"
        raise ValueError(f"{path} is of another network: conv1.weight {found}; a 2D convolution was expected.")
    if stem.shape[1] != in_channels and (stem.shape[1], in_channels) != (3, 1):
        raise ValueError(
            f"{path} takes images of {stem.shape[1]} channel(s), as conv1.weight {tuple(stem.shape)} shows, but the "
            f"data recipe gives {in_channels}; name a data recipe of {stem.shape[1]} channel(s)."
        )
    settings = {"spatial_dims": 2, "in_channels": in_channels, "base_channels": len(stem)}
    tensors, changes = torchvision_tensors(state, ResNet(depth=depth, **settings), path)
    left_out = [name for name in CLASSIFIER if name in state]
    names = {name: name for name in tensors}
    return PublishedWeights(path, settings, tensors, names, left_out, changes)
