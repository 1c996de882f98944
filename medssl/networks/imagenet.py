"""Starting a residual network from weights trained on ImageNet."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from medssl.networks.resnet import ResNet


def with_imagenet_weights(backbone: ResNet, path: str | None) -> ResNet:
    """Give the backbone with the weights of torchvision's network of its depth, or as it is if there is no file.

    Every weight is taken over but those of the classifier ``fc``. The network of colour images serves one channel too:
    the sum of the three channels of its first kernels gives on a grey image what they give on three copies of it.

    Args:
        backbone: of ``spatial_dims=2``, changed in place.
        path: of a state dict with torchvision's names, written by ``torch.save``; None for a random start.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if its weights are not those of the backbone, naming the first that differ.

    Example:
        >>> backbone = ResNet(spatial_dims=2, depth=18)
        >>> with_imagenet_weights(backbone, None) is backbone
        True
    """
    if path is None:
        return backbone
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file of weights {path}; check imagenet_weights.")
    weights = _read(path)
    own = backbone.state_dict()
    if "conv1.weight" in weights and own["conv1.weight"].shape[1] == 1:
        weights["conv1.weight"] = weights["conv1.weight"].sum(dim=1, keepdim=True)
    _check(weights, own, path)
    # Older files do not count the batches that their batch norms have seen.
    backbone.load_state_dict({**own, **weights})
    return backbone


def _read(path: str) -> dict[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        # The message of torch advises to read the file without its safeguard.
        raise ValueError(
            f"imagenet_weights: {path} cannot be read as a state dict of tensors; download it again, or save one with "
            "torch.save(network.state_dict(), PATH)."
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f"{path} holds no state dict; imagenet_weights is one of a residual network of torchvision.")
    return {name: value for name, value in weights.items() if not name.startswith("fc.")}


def _check(weights: dict[str, Tensor], own: dict[str, Tensor], path: str) -> None:
    faults = [f"{name} is missing" for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    faults += [f"{name} is unknown" for name in weights if name not in own]
    faults += [
        f"{name} is of shape {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if faults:
        raise ValueError(
            f"The weights in {path} are not those of this backbone: {'; '.join(faults[:3])}. "
            "imagenet_weights fits a 2D ResNet of the same depth with 1 or 3 channels."
        )
