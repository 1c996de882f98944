"""How a run goes on after a stop: from which checkpoint, and only with the settings it was started with."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from medssl.data.sampling import StepSampler
from medssl.runs.checkpoints import (
    list_checkpoints,
    load_checkpoint,
    newest_whole_checkpoint,
    set_aside,
    stateful_objects,
)
from medssl.runs.folder import holds_run
from medssl.runs.record import RECORD_NAME, read_run_record

logger = logging.getLogger(__name__)


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


def can_go_on(folder: Path) -> bool:
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


def refuse_changes(folder: Path, changes: list[str]) -> None:
    """Refuse to resume a run with other settings than it was started with.

    Args:
        folder: of the run, for the message.
        changes: as `changed_settings` gives them.

    Raises:
        ValueError: if there are any.
    """
    if changes:
        listed = "".join(f"\n  {change}" for change in changes)
        raise ValueError(
            f"The run in {folder} was started with other settings (stored -> given):{listed}\nGive the stored ones, "
            "choose another output folder, or go on all the same with --allow-changed."
        )


def newest_checkpoint(folder: Path) -> Path:
    """Give the newest whole checkpoint in a folder; damaged ones that are newer are set aside with a warning.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if none is whole.
    """
    checkpoint, damaged = newest_whole_checkpoint(folder)
    for path in damaged:
        logger.warning("%s is damaged, and set aside as %s; %s is used.", path, set_aside(path).name, checkpoint.name)
    return checkpoint
