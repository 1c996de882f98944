"""How a run starts in a folder: its configuration and record are written, or it continues where it stopped."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medssl.files import write_json
from medssl.runs.folder import discard_start, holds_run, require_free_folder, sweep_run_folder
from medssl.runs.ranks import rank
from medssl.runs.record import write_run_record
from medssl.runs.resume import can_resume, resume_run


def begin_run(
    folder: Path, config: dict[str, Any], record: Mapping[str, Any], resume: bool, allow_changed: bool
) -> None:
    """Write the configuration and the record of a run that starts in a folder, or resume the one it holds.

    ``resume_from`` of the configuration becomes the checkpoint to continue from, or None for a new run. The folder must
    be locked.

    Args:
        folder: of the run.
        config: merged configuration.
        record: of a run that starts now.
        resume: False refuses a folder that holds a run.
        allow_changed: True also resumes with other settings or data.

    Raises:
        FileExistsError: if the folder holds a run and `resume` is False, or weights of an unknown run.
        ValueError: if the run was started with other settings or data, or all of its checkpoints are damaged.
    """
    if not resume:
        require_free_folder(folder)
    sweep_run_folder(folder)
    config["resume_from"] = None
    if resume and can_resume(folder):
        resume_run(folder, config, record, allow_changed)
        return
    discard_start(folder)
    require_free_folder(folder)
    write_json(folder / "config.json", config)
    write_run_record(folder, record)


@contextmanager
def no_start_left_behind(folder: Path) -> Iterator[None]:
    """Free the folder again if the run fails in the block before it has kept anything, as on a damaged scan.

    Args:
        folder: of the run.
    """
    try:
        yield
    except BaseException:
        if rank() == 0 and not holds_run(folder):
            discard_start(folder)
        raise
