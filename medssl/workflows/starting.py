"""How a run starts, or goes on in a folder that holds it already."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medssl.data.files import write_json
from medssl.engines.checkpoints import list_checkpoints, newest_whole_checkpoint, set_aside, step_of
from medssl.engines.distributed import rank
from medssl.engines.run_folder import claim_run_folder, discard_start, holds_run, sweep_run_folder
from medssl.packaging.provenance import RECORD_NAME, read_run_record, write_run_record
from medssl.workflows.recipes import read_config

# Settings that a run may be resumed with in another way, because they cannot change its result, and why.
FREE_SETTINGS = {
    "output_dir": "the folder of the run may have been moved",
    "resume_from": "says which checkpoint the last start continued from",
    "datalist": "a path; the SHA-256 of the list is compared",
    "backbone_weights": "a path; the SHA-256 of the weights is compared",
    "store": "a path; the SHA-256 of its preprocessing is compared",
    "num_workers": "a batch is a function of seed and step alone",
    "cache_rate": "how much is kept in memory",
    "checkpoint_every": "how often the state is written",
    "panel_every": "how often pictures are written",
}
_NONE = "(none)"

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
    if not resume or not _can_go_on(folder):
        discard_start(folder)
        claim_run_folder(str(folder))
        write_json(folder / "config.json", config)
        write_run_record(folder, record)
        return
    stored = read_run_record(folder)
    changes = list(changed_settings(read_config(folder), config, stored, record))
    longer = record["steps"] > stored["steps"]
    if not allow_changed:
        _refuse(folder, [change for change in changes if not (longer and change.startswith("max_epochs: "))])
    if stored["finished"] and not longer:
        logger.info("%s is finished (%d steps): nothing to do.", folder, stored["steps"])
        return
    checkpoint = _newest(folder / "checkpoints")
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


def changed_settings(
    stored: Mapping[str, Any], given: Mapping[str, Any], stored_record: Mapping[str, Any], record: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what differs between a stored run and one that is to go on with it, as in ``seed: 0 -> 1``.

    Args:
        stored: configuration of the run.
        given: the new configuration; `FREE_SETTINGS` are left out of the comparison.
        stored_record: record of the run.
        record: the new record, for the SHA-256 of the data list and of the backbone.

    Example:
        >>> records = [{"datalist": {"sha256": "ab"}, "backbone_sha256": None}] * 2
        >>> list(changed_settings({"seed": 0, "num_workers": 1}, {"seed": 1, "num_workers": 4}, *records))
        ['seed: 0 -> 1']
    """
    before, after = (_flat(config) for config in (stored, json.loads(json.dumps(given))))
    for key in [*before, *(key for key in after if key not in before)]:
        if key.split("::")[0] not in FREE_SETTINGS and before.get(key, _NONE) != after.get(key, _NONE):
            yield f"{key}: {before.get(key, _NONE)} -> {after.get(key, _NONE)}"
    sums = [(r["datalist"]["sha256"], r["backbone_sha256"]) for r in (stored_record, record)]
    for name, old, new in zip(("data list", "backbone"), *sums, strict=True):
        if old != new:
            yield f"{name}: SHA-256 {old} -> {new}"


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Give the leaves of a configuration by their keys, joined as MONAI joins them."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None or not value or _is_plain_list(value):
        return {name: value}
    return {k: leaf for key, item in items for k, leaf in _flat(item, f"{name}::{key}" if name else str(key)).items()}


def _is_plain_list(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)


def _can_go_on(folder: Path) -> bool:
    """Tell whether a folder holds a run with a checkpoint or an end, rather than one stopped before its first."""
    if not holds_run(folder) and not (folder / RECORD_NAME).is_file():
        return False
    if not (folder / RECORD_NAME).is_file() or not (folder / "config.json").is_file():
        raise FileExistsError(
            f"{folder} holds checkpoints or weights, but no config.json and {RECORD_NAME}: nothing tells what run they "
            "are of. Choose another output folder."
        )
    if list_checkpoints(folder / "checkpoints") or read_run_record(folder)["finished"]:
        return True
    logger.info("The run in %s was stopped before its first checkpoint; it starts anew.", folder)
    return False


def _refuse(folder: Path, changes: list[str]) -> None:
    if changes:
        listed = "".join(f"\n  {change}" for change in changes)
        raise ValueError(
            f"The run in {folder} was started with other settings (stored -> given):{listed}\nGive the stored ones, "
            "choose another output folder, or go on all the same with --allow-changed."
        )


def _newest(folder: Path) -> Path:
    checkpoint, damaged = newest_whole_checkpoint(folder)
    for path in damaged:
        logger.warning("%s is damaged, and set aside as %s; %s is used.", path, set_aside(path).name, checkpoint.name)
    return checkpoint
