"""Weights of a backbone: saved at the end of a pretraining, loaded at the start of a segmentation training."""

import logging
import os
from pathlib import Path

from ignite.engine import Engine, Events
from torch import Tensor, nn

from medssl.networks.position import pretrained_part
from medssl.networks.state_dicts import read_weights
from medssl.runs.saved import saved_module
from medssl.runs.tensors import save_atomically

_PREFIX = "backbone."

logger = logging.getLogger(__name__)


def read_backbone(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the weights of a backbone, from ``backbone.pt`` of a run or ``models/model.pt`` of a pretraining bundle.

    In a bundle the names start with ``backbone.``, as in a segmentation network.

    Args:
        path: a file with a raw state dict.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds anything but a raw state dict.

    Example:
        >>> import tempfile, torch
        >>> path = tempfile.mkdtemp() + "/model.pt"
        >>> torch.save({"backbone.weight": torch.zeros(2)}, path)
        >>> list(read_backbone(path))
        ['weight']
    """
    weights = read_weights(path)
    if all(name.startswith(_PREFIX) for name in weights):
        return {name.removeprefix(_PREFIX): value for name, value in weights.items()}
    return weights


def load_backbone(backbone: nn.Module, path: str | os.PathLike[str] | None) -> nn.Module:
    """Return a backbone with pretrained weights, or unchanged if there are none.

    Args:
        backbone: the one whose weights are replaced.
        path: file of the weights, see `read_backbone`, or None for a random backbone.

    Raises:
        ValueError: if the weights are those of another network.
    """
    if path is not None:
        _load(pretrained_part(backbone), read_backbone(path), path)
    return backbone


def _load(network: nn.Module, weights: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the network: {' '.join(str(error).split())[:500]}") from None


class LoadBackbone:
    """Handler that loads pretrained weights into a backbone when training starts.

    Args:
        backbone: the one whose weights are replaced.
        path: file of the weights, see `read_backbone`.
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


class LoadWeights:
    """Handler that loads the weights of a whole network when an engine starts.

    It replaces MONAI's CheckpointLoader, whose errors do not name the file and advise to read it without its safeguard.

    Args:
        network: whose weights are replaced.
        path: file with a raw state dict of that network.
    """

    def __init__(self, network: nn.Module, path: str) -> None:
        self.network = network
        self.path = path

    def attach(self, engine: Engine) -> None:
        """Load before the first step."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load the weights."""
        _load(self.network, read_weights(self.path), self.path)


class SaveWeights:
    """Handler that writes the weights of a module as a raw state dict when training ends.

    If the run keeps a moving average of the module, that is written (`AverageWeights`).

    Args:
        module: the module to save, such as ``method.backbone``.
        path: the file, written atomically.
    """

    def __init__(self, module: nn.Module, path: str) -> None:
        self.module = module
        self.path = Path(path)

    def attach(self, engine: Engine) -> None:
        """Save at the end of training."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the state dict."""
        weights = saved_module(engine, self.module).state_dict()
        save_atomically({key: value.detach().cpu() for key, value in weights.items()}, self.path)
        logger.info("Wrote %s", self.path)
