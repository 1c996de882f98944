"""The pretrained backbone that a segmentation network starts from."""

import os

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn

_PREFIX = "backbone."


def read_backbone(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Give the weights of a backbone, from ``backbone.pt`` of a run or ``models/model.pt`` of a pretraining bundle.

    In a bundle the names start with ``backbone.``, as in a segmentation network.

    Args:
        path: file with a raw state dict.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/model.pt"
        >>> torch.save({"backbone.weight": torch.zeros(2)}, path)
        >>> list(read_backbone(path))
        ['weight']
    """
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    if all(name.startswith(_PREFIX) for name in weights):
        return {name.removeprefix(_PREFIX): value for name, value in weights.items()}
    return weights


def load_backbone(backbone: nn.Module, path: str | os.PathLike[str] | None) -> nn.Module:
    """Give a backbone with its pretrained weights, or as it is where there are none.

    Args:
        backbone: whose weights are replaced.
        path: of the weights, see `read_backbone`, or None for a random backbone.

    Raises:
        ValueError: if the weights are of another network.
    """
    if path is not None:
        try:
            backbone.load_state_dict(read_backbone(path), strict=True)
        except RuntimeError as error:
            raise ValueError(f"{path} does not fit the network: {' '.join(str(error).split())[:500]}") from error
    return backbone


class LoadBackbone:
    """Handler that gives a backbone its pretrained weights when training starts.

    Args:
        backbone: whose weights are replaced.
        path: of the weights, see `read_backbone`.
    """

    def __init__(self, backbone: nn.Module, path: str) -> None:
        self.backbone = backbone
        self.path = path

    def attach(self, engine: Engine) -> None:
        """Load before the first step."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load the weights."""
        load_backbone(self.backbone, self.path)
