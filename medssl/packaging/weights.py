"""A network and its weights: loaded without gaps, and exported as TorchScript."""

import os
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

# How far a script may be from the network it was made from.
SCRIPT_TOLERANCE = 1e-5


def load_strictly(network: nn.Module, weights: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Load weights that name every parameter and buffer of the network and nothing else.

    Args:
        network: whose weights are replaced.
        weights: tensors by name.
        path: of their file, for messages.

    Raises:
        ValueError: naming the first missing, unknown or misshapen entries.
    """
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the network: {' '.join(str(error).split())[:500]}") from None


def script_network(network: nn.Module) -> torch.jit.ScriptModule:
    """Return the network as TorchScript.

    Args:
        network: in evaluation mode.
    """
    with warnings.catch_warnings():
        # TorchScript is deprecated in favour of torch.export, but bundles are still loaded as model.ts.
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        return torch.jit.script(network)


def script_error(network: nn.Module, script: torch.jit.ScriptModule, image_shape: tuple[int, ...]) -> float:
    """Return the largest absolute difference between a network and its script on a random image.

    Args:
        network: in evaluation mode.
        script: made from it.
        image_shape: batch, channels and spatial size of the image.
    """
    image = torch.rand(image_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return float((network(image) - script(image)).abs().max())
