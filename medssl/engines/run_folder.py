"""The folder of a run: claimed once, written atomically, found again for resuming."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from medssl.data.files import replacing
from medssl.data.sampling import StepSampler

CHECKPOINT_NAME = re.compile(r"step=(\d+)\.pt")


def claim_run_folder(output_dir: str, resume_from: str | None = None) -> Path:
    """Give the run folder, new and empty, or the one that is being resumed.

    Args:
        output_dir: the folder of the run.
        resume_from: checkpoint that the run continues from, or None for a new run.

    Raises:
        FileExistsError: if a new run would go into a folder that already holds a run.
        FileNotFoundError: if the checkpoint is not there.

    Example:
        >>> import tempfile
        >>> claim_run_folder(tempfile.mkdtemp() + "/run").name
        'run'
    """
    folder = Path(output_dir)
    if resume_from is not None:
        if not Path(resume_from).is_file():
            raise FileNotFoundError(f"There is no checkpoint {resume_from} to resume from.")
        return folder
    if holds_run(folder):
        raise FileExistsError(
            f"{folder} already holds a run. Choose another output folder, continue it with --resume, or delete it."
        )
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    return folder


def holds_run(folder: Path) -> bool:
    """Tell whether anything of a run was written to a folder."""
    return any(folder.glob("checkpoints/*.pt")) or any((folder / name).exists() for name in ("backbone.pt", "model.pt"))


def latest_checkpoint(folder: Path) -> Path:
    """Give the checkpoint with the highest step of a run folder.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = {
        int(m[1]): path for path in (folder / "checkpoints").glob("*.pt") if (m := CHECKPOINT_NAME.fullmatch(path.name))
    }
    if not found:
        raise FileNotFoundError(f"{folder} holds no checkpoint to resume from; start it without --resume.")
    return found[max(found)]


def save_atomically(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors to a file that is either whole or not there, even if the process is killed."""
    with replacing(path) as temporary:
        torch.save(state, temporary)


class SaveCheckpoints:
    """Handler that writes a checkpoint every `interval` steps and at the end, atomically, and keeps the last ones.

    Stands in for MONAI's CheckpointSaver, which writes in place, so that a kill while saving leaves a broken file.
    The number of steps done is saved too. The checkpoint of an epoch's last step is written when the epoch is
    completed, after the handlers attached before this one: a validation is in it, and is never lost to a kill.

    Args:
        folder: where the files ``step=N.pt`` go.
        objects: what is saved, each with a ``state_dict``.
        interval: steps between checkpoints.
        num_kept: how many of the newest checkpoints stay.
    """

    def __init__(self, folder: str, objects: dict[str, Any], interval: int, num_kept: int = 2) -> None:
        self.folder = Path(folder)
        self.objects = objects
        self.interval = interval
        self.num_kept = num_kept

    def attach(self, engine: Engine) -> None:
        """Save every `interval` steps and when training is done."""
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
        """Write the checkpoint of this step and delete the oldest."""
        state: dict[str, Any] = {name: thing.state_dict() for name, thing in self.objects.items()}
        state["step"] = engine.state.iteration
        save_atomically(state, self.folder / f"step={engine.state.iteration:07d}.pt")
        for old in sorted(self.folder.glob("step=*.pt"))[: -self.num_kept]:
            old.unlink()


class Resume:
    """Handler that continues a run from a checkpoint of `SaveCheckpoints`: objects, step count and batches.

    Args:
        checkpoint: the file, or None to start anew.
        objects: what is restored, as given to `SaveCheckpoints`.
        sampler: set to the first step not yet done.

    Raises:
        ValueError: if the checkpoint is of another recipe.
    """

    def __init__(self, checkpoint: str | None, objects: dict[str, Any], sampler: StepSampler) -> None:
        self.checkpoint = checkpoint
        self.objects = objects
        self.sampler = sampler

    def attach(self, engine: Engine) -> None:
        """Load before the first step."""
        if self.checkpoint is not None:
            engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load the checkpoint."""
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if state.keys() != {*self.objects, "step"}:
            raise ValueError(f"{self.checkpoint} holds {sorted(state)}: it is a checkpoint of another recipe.")
        for name, thing in self.objects.items():
            thing.load_state_dict(state[name])
        engine.state.iteration = self.sampler.start = state["step"]
        engine.state.epoch = state["step"] // engine.state.epoch_length
