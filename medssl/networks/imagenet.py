"""Weights in the format of torchvision's residual networks, such as those trained on ImageNet."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from medssl.networks.resnet import ResNet
from medssl.networks.state_dicts import read_state_dict, require_fit

CLASSIFIER = ("fc.weight", "fc.bias")
_COUNTER = ".num_batches_tracked"


def with_imagenet_weights(backbone: ResNet, path: str | None) -> ResNet:
    """Return the backbone with the weights of torchvision's network of its depth, or unchanged if no file is given.

    Args:
        backbone: one with ``spatial_dims=2``, changed in place.
        path: file with a state dict in torchvision's names, written by ``torch.save``; None for a random start.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if its weights are not those of the backbone, naming the first that differs.

    Example:
        >>> backbone = ResNet(spatial_dims=2, depth=18)
        >>> with_imagenet_weights(backbone, None) is backbone
        True
    """
    if path is None:
        return backbone
    try:
        tensors, _ = torchvision_tensors(read_state_dict(Path(path)), backbone, Path(path))
    except (FileNotFoundError, ValueError) as error:
        hint = "It should name a state dict of torchvision for a 2D ResNet of the same depth, with 1 or 3 channels."
        raise type(error)(f"imagenet_weights: {error} {hint}") from error
    backbone.load_state_dict(tensors)
    return backbone


def torchvision_tensors(
    state: Mapping[str, Tensor], network: ResNet, path: Path
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a network's state dict from one of torchvision, and what was changed, by the name of the tensor.

    All weights are taken over except those of the classifier ``fc``. A network for colour images serves one channel
    too: on a grey image the sum of its first kernels over the three channels gives what they give on three copies of
    it. Files from before batch norms counted their batches are accepted.

    Args:
        state: with torchvision's names.
        network: the 2D network that the tensors must fit.
        path: the file, for messages.

    Raises:
        ValueError: if the tensors are those of another network.

    Example:
        >>> tensors, changes = torchvision_tensors(ResNet(in_channels=3).state_dict(), ResNet(), Path("w.pth"))
        >>> tuple(tensors["conv1.weight"].shape), list(changes)
        ((64, 1, 7, 7), ['conv1.weight'])
    """
    tensors = {name: value for name, value in state.items() if name not in CLASSIFIER}
    changes = {}
    own = network.state_dict()
    stem = tensors.get("conv1.weight")
    if stem is not None and (stem.ndim, stem.shape[1], own["conv1.weight"].shape[1]) == (4, 3, 1):
        tensors["conv1.weight"] = stem.sum(dim=1, keepdim=True)
        changes["conv1.weight"] = "summed over its 3 channels, so that a grey image gives what 3 copies of it gave"
    for name, value in own.items():
        if name.endswith(_COUNTER):
            tensors.setdefault(name, torch.zeros_like(value))
    require_fit(network, tensors, {name: name for name in tensors}, f"a ResNet of {network.depth} layers", path)
    return tensors, changes
