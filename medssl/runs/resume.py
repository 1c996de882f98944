"""How a run continues after a stop: from its newest undamaged checkpoint, with the settings it was started with."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssl.files import write_json
from medssl.moved import current_name
from medssl.runs.checkpoints import (
    list_checkpoints,
    load_checkpoint,
    newest_whole_checkpoint,
    set_aside,
    stateful_objects,
    step_of,
)
from medssl.runs.folder import holds_run, read_config
from medssl.runs.record import RECORD_NAME, read_run_record, write_run_record

if TYPE_CHECKING:
    from ignite.engine import Engine

    from medssl.data.sampling import StepSampler

# Settings that may differ when a run is resumed, because they cannot change its result, and why.
FREE_SETTINGS = {
    "output_dir": "the folder of the run may have been moved",
    "resume_from": "the checkpoint that the last start continued from",
    "datalist": "a path; the SHA-256 of the list is compared",
    "backbone_weights": "a path; the SHA-256 of the weights is compared",
    "store": "a path; the SHA-256 of its preprocessing is compared",
    "deterministic": "which kernels a GPU chooses, which differ by rounding; nothing on a CPU",
    "num_workers": "a batch is a function of seed and step alone",
    "cache_rate": "how much is kept in memory",
    "checkpoint_every": "how often the state is written",
    "panel_every": "how often pictures are written",
    "allow_bad_values": "what it refuses is refused with an error, and never left out",
    "probe_every": "how often the features are probed",
}
_NONE = "(none)"

logger = logging.getLogger(__name__)


def can_resume(folder: Path) -> bool:
    """Tell whether a folder holds a run that is finished or has a checkpoint.

    A run that was stopped before its first checkpoint starts anew, also if the stop came while the traces of an earlier
    start were being cleared away.

    Raises:
        FileExistsError: if the folder holds weights or checkpoints but no record of their run.
    """
    recorded = (folder / RECORD_NAME).is_file() and (folder / "config.json").is_file()
    if not recorded and not holds_run(folder):
        return False
    if not recorded:
        raise FileExistsError(
            f"{folder} holds checkpoints or weights, but no config.json and {RECORD_NAME}: nothing tells what run they "
            "are of. Choose another output folder."
        )
    if list_checkpoints(folder / "checkpoints") or read_run_record(folder)["finished"]:
        return True
    logger.info("The run in %s was stopped before its first checkpoint; it starts anew.", folder)
    return False


def resume_run(folder: Path, config: dict[str, Any], record: Mapping[str, Any], allow_changed: bool) -> None:
    """Set ``resume_from`` of a configuration to the newest whole checkpoint, and record the resume.

    A finished run is left as it is, unless more steps are asked for.

    Args:
        folder: of the run, for which `can_resume` is True; it must be locked.
        config: merged configuration.
        record: of a run that starts now.
        allow_changed: True also resumes with other settings or data.

    Raises:
        ValueError: if the run was started with other settings or data, or all of its checkpoints are damaged.
    """
    stored = read_run_record(folder)
    changes = list(changed_settings(read_config(folder), config, stored, record))
    longer = record["steps"] > stored["steps"]
    if not allow_changed:
        _require_unchanged(folder, [c for c in changes if not (longer and c.startswith("max_epochs: "))])
    if stored["finished"] and not longer:
        logger.info("%s is finished (%d steps): nothing to do.", folder, stored["steps"])
        return
    checkpoint = newest_checkpoint(folder / "checkpoints")
    config["resume_from"] = str(checkpoint.resolve())
    write_json(folder / "config.json", config)
    write_run_record(folder, record, resumed_at=step_of(checkpoint), changes=changes)
    was = f" (planned before: {stored['steps']})" if longer else ""
    logger.info("%s continues after step %d of %d%s.", folder, step_of(checkpoint), record["steps"], was)


def newest_checkpoint(folder: Path) -> Path:
    """Return the newest whole checkpoint in a folder, after setting newer damaged ones aside with a warning.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if all are damaged.
    """
    checkpoint, damaged = newest_whole_checkpoint(folder)
    for path in damaged:
        logger.warning("%s is damaged, and set aside as %s; %s is used.", path, set_aside(path).name, checkpoint.name)
    return checkpoint


class Resume:
    """Handler that restores a run from a checkpoint of `SaveCheckpoints`: objects, number of steps and batches.

    What follows is what would have followed without the stop: to the bit on a CPU, given the same versions of the
    libraries and the same number of threads. Another number of threads sums in another order, so its results differ.

    Args:
        checkpoint: the file, or None for a new run.
        objects: what to restore, as given to `SaveCheckpoints`.
        sampler: is set to the first step not yet done.

    Raises:
        ValueError: if the checkpoint is damaged or belongs to another recipe.
    """

    def __init__(self, checkpoint: str | None, objects: dict[str, Any], sampler: StepSampler) -> None:
        self.checkpoint = checkpoint
        self.objects = objects
        self.sampler = sampler

    def attach(self, engine: Engine) -> None:
        """Load before the first step."""
        from ignite.engine import Events

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


def changed_settings(
    stored: Mapping[str, Any], given: Mapping[str, Any], stored_record: Mapping[str, Any], record: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the differences between a stored run and one that is to continue it, as in ``seed: 0 -> 1``.

    A class or function that has moved since the run was started counts as the same.

    Args:
        stored: configuration of the run.
        given: the new configuration; `FREE_SETTINGS` are not compared.
        stored_record: record of the run.
        record: the new record, for the SHA-256 of the data list and of the backbone.

    Example:
        >>> records = [{"datalist": {"sha256": "ab"}, "backbone_sha256": None}] * 2
        >>> list(changed_settings({"seed": 0, "num_workers": 1}, {"seed": 1, "num_workers": 4}, *records))
        ['seed: 0 -> 1']
    """
    before, after = (_flat(config) for config in (stored, json.loads(json.dumps(given))))
    for key in [*before, *(key for key in after if key not in before)]:
        if not _is_free(key) and before.get(key, _NONE) != after.get(key, _NONE):
            yield f"{key}: {before.get(key, _NONE)} -> {after.get(key, _NONE)}"
    sums = [(r["datalist"]["sha256"], r["backbone_sha256"]) for r in (stored_record, record)]
    for name, old, new in zip(("data list", "backbone"), *sums, strict=True):
        if old != new:
            yield f"{name}: SHA-256 {old} -> {new}"


def _is_free(key: str) -> bool:
    names = key.split("::")
    return names[0] in FREE_SETTINGS or names[-1] == "allow_bad_values"


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return the leaves of a configuration by their keys, joined as MONAI joins them."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None or not value or _is_plain_list(value):
        return {name: _name_today(value) if name.endswith("_target_") else value}
    return {k: leaf for key, item in items for k, leaf in _flat(item, f"{name}::{key}" if name else str(key)).items()}


def _is_plain_list(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)


def _name_today(target: str) -> str:
    try:
        return current_name(target)
    except AttributeError:
        # What no longer exists is a changed setting, under the name it had.
        return target


def _require_unchanged(folder: Path, changes: list[str]) -> None:
    if changes:
        listed = "".join(f"\n  {change}" for change in changes)
        raise ValueError(
            f"The run in {folder} was started with other settings (stored -> given):{listed}\nGive the stored ones, "
            "choose another output folder, or continue anyway with --allow-changed."
        )
