"""Files of tensors: equal tensors give equal bytes, and a file is whole or not there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medssl.files import replacing


def save_atomically(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors to a file that is whole or not there, even if the process is killed.

    Args:
        state: tensors, numbers and texts; equal ones give equal bytes.
        path: the file to write.

    Raises:
        OSError: if the disk is full; the message names the file, and the old file stays.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "model.pt"
        >>> save_atomically({"weight": torch.ones(2)}, path)
        >>> torch.load(path, weights_only=True)["weight"]
        tensor([1., 1.])
    """
    with replacing(path) as temporary:
        write_tensors(state, temporary)


def write_tensors(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors in place, for a path that `medssl.files.replacing` gave; the bytes depend on the content alone."""
    # Given a path, torch would write the name of the temporary file into the file.
    with path.open("wb") as file:
        torch.save(state, file)
