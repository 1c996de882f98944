"""How a run starts, or goes on in a folder that holds it already."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medssl.files import write_json
from medssl.runs.checkpoints import step_of
from medssl.runs.folder import claim_run_folder, discard_start, holds_run, read_config, sweep_run_folder
from medssl.runs.ranks import rank
from medssl.runs.record import read_run_record, write_run_record
from medssl.runs.resume import can_go_on, changed_settings, newest_checkpoint, refuse_changes

logger = logging.getLogger(__name__)


def begin_run(
    folder: Path, config: dict[str, Any], record: Mapping[str, Any], resume: bool, allow_changed: bool
) -> None:
    """Write the configuration and the record of a run that starts in a folder, or goes on there.

    A finished run keeps its record, which says so. Otherwise ``resume_from`` of the configuration is set to the newest
    whole checkpoint, or None. The folder must be locked.

    Args:
        folder: of the run.
        config: merged configuration.
        record: of a run that starts now.
        resume: False refuses a folder that holds a run.
        allow_changed: True resumes with other settings or data too.

    Raises:
        FileExistsError: if the folder holds a run and `resume` is False, or weights of which nothing is known.
        ValueError: if the run was started with other settings or data, or none of its checkpoints is whole.
    """
    if not resume:
        claim_run_folder(str(folder))
    sweep_run_folder(folder)
    config["resume_from"] = None
    if not resume or not can_go_on(folder):
        discard_start(folder)
        claim_run_folder(str(folder))
        write_json(folder / "config.json", config)
        write_run_record(folder, record)
        return
    stored = read_run_record(folder)
    changes = list(changed_settings(read_config(folder), config, stored, record))
    longer = record["steps"] > stored["steps"]
    if not allow_changed:
        refuse_changes(folder, [change for change in changes if not (longer and change.startswith("max_epochs: "))])
    if stored["finished"] and not longer:
        logger.info("%s is finished (%d steps): nothing to do.", folder, stored["steps"])
        return
    checkpoint = newest_checkpoint(folder / "checkpoints")
    config["resume_from"] = str(checkpoint.resolve())
    write_json(folder / "config.json", config)
    write_run_record(folder, record, resumed_at=step_of(checkpoint), changes=changes)
    was = f" (planned before: {stored['steps']})" if longer else ""
    logger.info("%s goes on after step %d of %d%s.", folder, step_of(checkpoint), record["steps"], was)


@contextmanager
def no_start_left_behind(folder: Path) -> Iterator[None]:
    """Free the folder of a run that fails in the block before anything of it is kept, as on a damaged scan.

    Args:
        folder: of the run.
    """
    try:
        yield
    except BaseException:
        if rank() == 0 and not holds_run(folder):
            discard_start(folder)
        raise
