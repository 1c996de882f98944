"""The folder of a run: claimed once, written atomically, found again for resuming."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from medssl.data.files import replacing, sweep_temporary
from medssl.data.sampling import StepSampler
from medssl.engines.checkpoints import (
    checkpoint_path,
    delete_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    sweep_sha256,
    write_tensors,
)


def claim_run_folder(output_dir: str, resume_from: str | None = None) -> Path:
    """Give the run folder, which holds no run yet, or the one that is being resumed.

    Nothing is written, so that a configuration can be initialised without being run, as `monai.bundle.load` does.

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
    refuse_held_folder(folder)
    return folder


def refuse_held_folder(folder: Path) -> None:
    """Refuse a folder for a new run if it holds one.

    Raises:
        FileExistsError: if it does.
    """
    if holds_run(folder):
        raise FileExistsError(
            f"{folder} already holds a run. Choose another output folder, continue it with --resume, or delete it."
        )


def holds_run(folder: Path) -> bool:
    """Tell whether anything of a run was written to a folder."""
    return any(folder.glob("checkpoints/*.pt")) or any((folder / name).exists() for name in ("backbone.pt", "model.pt"))


def sweep_run_folder(folder: Path) -> None:
    """Delete what killed writers left in a run folder; call it only while the folder is locked."""
    for place in (folder, folder / "checkpoints"):
        sweep_temporary(place)
    sweep_sha256(folder / "checkpoints")


def discard_start(folder: Path) -> None:
    """Delete what a run without a checkpoint wrote, so that its folder is free for a new one; other files stay."""
    if (folder / "run.json").is_file():
        for log in folder.glob("tensorboard/**/events.out.tfevents.*"):
            log.unlink()
    for name in ("model.pt", "config.json", "run.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("tensorboard", "checkpoints"):
        with suppress(OSError):
            (folder / name).rmdir()


def save_atomically(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors to a file that is either whole or not there, even if the process is killed.

    Equal tensors give equal bytes.
    """
    with replacing(path) as temporary:
        write_tensors(state, temporary)


def stateful_objects(engine: Engine, objects: Mapping[str, Any]) -> dict[str, Any]:
    """Give the objects of a checkpoint, with the trainer's gradient scaler where it has one."""
    scaler = getattr(engine, "scaler", None)
    return {**objects, "scaler": scaler} if scaler is not None else dict(objects)


class SaveCheckpoints:
    """Handler that writes a checkpoint every `interval` steps and at the end, atomically, and keeps the last ones.

    Stands in for MONAI's CheckpointSaver, which writes in place, so that a kill while saving leaves a broken file.
    The number of steps done is saved too. A checkpoint that is there is never written again. The one of an epoch's last
    step is written when the epoch is completed, after the handlers attached before this one: a validation is in it, and
    is never lost to a kill.

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
        """Write the checkpoint of this step, unless that was done before, and delete the oldest."""
        path = checkpoint_path(self.folder, engine.state.iteration)
        if path.is_file():
            return
        state: dict[str, Any] = {
            name: thing.state_dict() for name, thing in stateful_objects(engine, self.objects).items()
        }
        save_checkpoint({**state, "step": engine.state.iteration}, path)
        for old in list_checkpoints(self.folder)[: -self.num_kept]:
            delete_checkpoint(old)


class Resume:
    """Handler that continues a run from a checkpoint of `SaveCheckpoints`: objects, step count and batches.

    What follows is what would have followed without the stop: to the bit on a CPU, with the same versions of the
    libraries and as many threads. Another number of threads adds up in another order; nothing is promised for it.

    Args:
        checkpoint: the file, or None to start anew.
        objects: what is restored, as given to `SaveCheckpoints`.
        sampler: set to the first step not yet done.

    Raises:
        ValueError: if the checkpoint is damaged, or of another recipe.
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
        state = load_checkpoint(self.checkpoint)
        objects = stateful_objects(engine, self.objects)
        if state.keys() != {*objects, "step"}:
            raise ValueError(f"{self.checkpoint} holds {sorted(state)}: it is a checkpoint of another recipe.")
        for name, thing in objects.items():
            thing.load_state_dict(state[name])
        engine.state.iteration = self.sampler.start = state["step"]
        engine.state.epoch = state["step"] // engine.state.epoch_length
