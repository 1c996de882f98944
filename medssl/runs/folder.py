"""The folder of a run: claimed once, written atomically."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from medssl.files import replacing, sweep_temporary
from medssl.runs.checkpoints import sweep_sha256, write_tensors


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


def read_config(run_dir: Path) -> dict[str, Any]:
    """Give the configuration of a run.

    Raises:
        FileNotFoundError: if the folder holds no run.
    """
    path = run_dir / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{run_dir} holds no config.json: it is not the folder of a medssl run.")
    return json.loads(path.read_text(encoding="utf-8"))
