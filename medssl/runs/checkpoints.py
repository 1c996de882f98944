"""Checkpoints: files with their SHA-256 beside them, which of them are whole, and when they are written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssl.files import file_sha256, replacing

if TYPE_CHECKING:
    from ignite.engine import Engine

_NAME = re.compile(r"step=(\d+)\.pt")


def checkpoint_path(folder: str | os.PathLike[str], step: int) -> Path:
    """Return the path of the checkpoint of a step.

    Example:
        >>> checkpoint_path("checkpoints", 500).name
        'step=0000500.pt'
    """
    return Path(folder) / f"step={step:07d}.pt"


def step_of(path: Path) -> int:
    """Return the number of steps done in a checkpoint, from its name.

    Example:
        >>> step_of(Path("checkpoints/step=0000500.pt"))
        500
    """
    return int(_NAME.fullmatch(path.name)[1])


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint and, beside it, its SHA-256 in the format of ``sha256sum``.

    The SHA-256 appears first, then the checkpoint, each whole, so a kill never leaves a checkpoint that looks damaged.

    Args:
        state: tensors, numbers and texts.
        path: ending in ``.pt``.

    Raises:
        OSError: if the disk is full; the message names the file, and older checkpoints stay.
    """
    from medssl.runs.tensors import write_tensors

    with replacing(path) as temporary:
        write_tensors(state, temporary)
        with replacing(_sha256_path(path)) as digest:
            digest.write_text(f"{file_sha256(temporary)}  {path.name}\n", encoding="utf-8")


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the state in a checkpoint, on the CPU, after checking its SHA-256.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds objects that could run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path} to resume from.")
    if not is_whole(path):
        raise ValueError(f"The checkpoint {path} is damaged: it does not match {_sha256_path(path).name}.")
    from medssl.networks.state_dicts import load_plain

    state = load_plain(path)
    if not isinstance(state, dict):
        raise ValueError(f"The checkpoint {path} holds no state of a run, but {type(state).__name__}.")
    return state


def is_whole(path: Path) -> bool:
    """Tell whether a checkpoint matches its SHA-256; False if that is missing."""
    try:
        stored = _sha256_path(path).read_text(encoding="ascii", errors="replace")
        return stored.split() == [file_sha256(path), path.name]
    except FileNotFoundError:
        return False


def list_checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the checkpoints in a folder, the newest last."""
    return sorted((path for path in Path(folder).glob("step=*.pt") if _NAME.fullmatch(path.name)), key=step_of)


def newest_whole_checkpoint(folder: str | os.PathLike[str]) -> tuple[Path, list[Path]]:
    """Return the newest whole checkpoint, and the damaged ones that are newer.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if all are damaged.
    """
    checkpoints = list_checkpoints(folder)
    if not checkpoints:
        raise FileNotFoundError(f"{folder} holds no checkpoint.")
    for number, path in enumerate(reversed(checkpoints)):
        if is_whole(path):
            return path, checkpoints[len(checkpoints) - number :]
    raise ValueError(
        f"No checkpoint in {folder} is whole ({', '.join(path.name for path in checkpoints)}): each is damaged or "
        "lacks its .sha256. Put back a copy, or delete the folder of the run to start anew."
    )


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint so that it no longer counts, and return its new path."""
    _sha256_path(path).unlink(missing_ok=True)
    return path.replace(path.with_name(f"{path.name}.damaged"))


def delete_checkpoint(path: Path) -> None:
    """Delete a checkpoint and its SHA-256."""
    path.unlink()
    _sha256_path(path).unlink(missing_ok=True)


def sweep_sha256(folder: str | os.PathLike[str]) -> None:
    """Delete every SHA-256 whose checkpoint was never written or is deleted."""
    for path in Path(folder).glob("step=*.pt.sha256"):
        if not path.with_suffix("").is_file():
            path.unlink()


def _sha256_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def stateful_objects(engine: Engine, objects: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objects that a checkpoint holds: those given, and the trainer's gradient scaler if it has one."""
    scaler = getattr(engine, "scaler", None)
    return {**objects, "scaler": scaler} if scaler is not None else dict(objects)


def before_saving(engine: Engine, action: Callable[[], object]) -> None:
    """Call an action before each checkpoint of an engine; if it raises, nothing is saved.

    Args:
        engine: the engine.
        action: called without arguments, in the order of registration.
    """
    if not hasattr(engine, "actions_before_saving"):
        engine.actions_before_saving = []
    engine.actions_before_saving.append(action)


class SaveCheckpoints:
    """Handler that writes a checkpoint every `interval` steps and at the end, atomically, and keeps the newest ones.

    It replaces MONAI's CheckpointSaver, which writes in place, so that a kill during a save leaves a broken file. The
    number of steps done is saved too. An existing checkpoint is never written again. The checkpoint of an epoch's last
    step is written when the epoch is complete, after the handlers attached before this one, so it includes the
    validation, which a kill then cannot lose.

    Args:
        folder: where the files ``step=N.pt`` go.
        objects: what to save, each with a ``state_dict``.
        interval: steps between checkpoints.
        num_kept: how many of the newest checkpoints to keep.
    """

    def __init__(self, folder: str, objects: dict[str, Any], interval: int, num_kept: int = 2) -> None:
        self.folder = Path(folder)
        self.objects = objects
        self.interval = interval
        self.num_kept = num_kept

    def attach(self, engine: Engine) -> None:
        """Save every `interval` steps and when training ends."""
        from ignite.engine import Events

        engine.add_event_handler(Events.ITERATION_COMPLETED, self._save_within_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save_after_epoch)
        engine.add_event_handler(Events.COMPLETED, self)

    def _save_within_epoch(self, engine: Engine) -> None:
        step = engine.state.iteration
        if step % self.interval == 0 and step % engine.state.epoch_length:
            self(engine)

    def _save_after_epoch(self, engine: Engine) -> None:
        if engine.state.iteration % self.interval == 0:
            self(engine)

    def __call__(self, engine: Engine) -> None:
        """Write the checkpoint of this step, unless it exists, and delete the oldest."""
        path = checkpoint_path(self.folder, engine.state.iteration)
        if path.is_file():
            return
        for action in getattr(engine, "actions_before_saving", ()):
            action()
        state: dict[str, Any] = {
            name: thing.state_dict() for name, thing in stateful_objects(engine, self.objects).items()
        }
        save_checkpoint({**state, "step": engine.state.iteration}, path)
        for old in list_checkpoints(self.folder)[: -self.num_kept]:
            delete_checkpoint(old)
