"""The folder of a run: whether it is free or holds a run, its configuration, and what to clear away."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from medssl.files import read_object, sweep_temporary


def claim_run_folder(output_dir: str, resume_from: str | None = None) -> Path:
    """Return the folder of a run, after checking that a new run finds it free and a resumed run its checkpoint.

    Nothing is written, so a configuration can be initialised without being run, as `monai.bundle.load` does.

    Args:
        output_dir: the folder of the run.
        resume_from: checkpoint that the run continues from, or None for a new run.

    Raises:
        FileExistsError: if a new run would go into a folder that already holds a run.
        FileNotFoundError: if the checkpoint is missing.

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
    require_free_folder(folder)
    return folder


def require_free_folder(folder: Path) -> None:
    """Check that a folder can take a new run.

    Raises:
        FileExistsError: if it already holds a run.
    """
    if holds_run(folder):
        raise FileExistsError(
            f"{folder} already holds a run. Choose another output folder, continue it with --resume, or delete it."
        )


def holds_run(folder: Path) -> bool:
    """Tell whether a folder holds a checkpoint or weights; what a killed writer left counts for nothing."""
    return any(folder.glob("checkpoints/[!.]*.pt")) or any(
        (folder / name).exists() for name in ("backbone.pt", "model.pt")
    )


def sweep_run_folder(folder: Path) -> None:
    """Delete the files that killed writers left in a run folder; call it only while the folder is locked."""
    from medssl.runs.checkpoints import sweep_sha256

    # Features lie in the folder of the run unless several runs share them.
    for place in (folder, folder / "checkpoints", folder / "features"):
        sweep_temporary(place)
    sweep_sha256(folder / "checkpoints")


def discard_start(folder: Path) -> None:
    """Delete the files of a run that has no checkpoint yet, so that its folder is free again; other files stay."""
    if (folder / "run.json").is_file():
        for log in folder.glob("tensorboard/**/events.out.tfevents.*"):
            log.unlink()
    for name in ("model.pt", "config.json", "run.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("tensorboard", "checkpoints"):
        with suppress(OSError):
            (folder / name).rmdir()


def read_config(run_dir: Path) -> dict[str, Any]:
    """Return the configuration of a run.

    Raises:
        FileNotFoundError: if the folder holds no run.
        ValueError: if the file is damaged.
    """
    return read_object(run_dir / "config.json", "give the folder of a medssl run")
