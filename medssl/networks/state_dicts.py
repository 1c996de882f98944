"""Files of weights, read safely: state dicts of medssl, and checkpoints of others."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_PREFIXES = ("module.", "backbone.")


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the tensors of a raw state dict, as medssl writes it, on the CPU.

    Args:
        path: file written by ``torch.save``; nothing but tensors, numbers and texts is read from it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, holds other objects, or is not a raw state dict.
    """
    return _require_tensors(load_plain(Path(path)), path, "raw state dict (names to tensors)")


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint of others by name, without the prefixes that wrappers add.

    Args:
        path: file written by ``torch.save`` with a state dict, bare or under the key ``state_dict``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds objects other than tensors and plain values.
    """
    content = load_plain(Path(path))
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    tensors = _require_tensors(content, path, "state dict, bare or under 'state_dict'")
    return {_without_prefixes(name): value for name, value in tensors.items()}


def load_plain(path: Path) -> Any:
    """The content of a file that ``torch.save`` wrote, on the CPU: tensors, numbers, texts and containers of them.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it may not or cannot be read; the message names the file and the reason.
        ValueError: if it is damaged, does not fit in memory, or holds other objects, which are not read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights {path}.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch seeks before the start of a file that is cut off, which is an invalid argument to the system.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise type(error)(f"{path} cannot be read: {error.strerror}.") from None
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise ValueError(f"{path} does not fit in memory; use a machine with more of it.") from None
        # The message of torch advises to read the file without its safeguard, so it is not shown as a cause either.
        raise ValueError(
            f"{path} is damaged, or holds objects that could run code, and was not loaded; copy or download it again, "
            "or save one with torch.save(network.state_dict(), PATH)."
        ) from None


def _require_tensors(content: Any, path: str | os.PathLike[str], what: str) -> dict[str, Tensor]:
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        found = sorted(map(str, content))[:5] if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f"{path} holds no {what}, but {found}.")
    return {str(name): value for name, value in content.items()}


def require_fit(
    network: nn.Module, tensors: Mapping[str, Tensor], theirs: Mapping[str, str], what: str, path: Path
) -> None:
    """Check that tensors are those of a network, by name and shape.

    Args:
        network: the network that they must fit.
        tensors: its state dict, if they fit.
        theirs: the name of each tensor in the checkpoint.
        what: the network, for the message.
        path: the checkpoint.

    Raises:
        ValueError: naming the first tensor that does not fit or is missing.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name, value in tensors.items():
        if name not in expected:
            raise ValueError(
                f"{path} is of another network: {theirs[name]} {tuple(value.shape)} is too much for {what}."
            )
        if tuple(value.shape) != expected[name]:
            shapes = f"{tuple(value.shape)}, not {expected[name]}"
            raise ValueError(f"{path} is of another network: {theirs[name]} has the shape {shapes}, as in {what}.")
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise ValueError(
            f"{path} is not whole: {len(missing)} tensors of {what} are missing, the first is {missing[0]}."
        )


def _without_prefixes(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
