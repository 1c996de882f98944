"""The train.json of a packed bundle: the configuration of the run in the form that MONAI's train workflow knows."""

import json
import re
from collections.abc import Mapping
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver

from medssl.runs.record import without_local_paths

_HANDLERS = "train::handlers"
_TRAINED = "trained_network_def"


def train_config(config: Mapping[str, Any], inference: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run without its author's folders and with all handlers in one plain list.

    A recipe may join its handlers from several lists ("$@train::start_handlers + @train::log_handlers"), which
    `monai.bundle.ConfigWorkflow.check_properties` cannot read. Where the method trains a larger network than the one
    whose weights are packed, the packed one becomes ``network_def`` and the method's ``trained_network_def``:
    `monai.bundle.load` builds the ``network_def`` of this file and leaves weights random that it cannot find.

    Args:
        config: configuration of the run, merged and unresolved.
        inference: inference configuration of the bundle.

    Raises:
        ValueError: if the handlers are joined in any other way.

    Example:
        >>> train = {"handlers": "$@train::first + @train::then", "first": [{"_target_": "A"}], "then": []}
        >>> train_config({"train": train, "network_def": {}}, {"network_def": {}})["train"]
        {'handlers': [{'_target_': 'A'}]}
    """
    config = without_local_paths(config)
    if "resume_from" in config:
        # Whoever trains on starts from the weights: the checkpoints of the run are not in the bundle.
        config["resume_from"] = None
    parser = ConfigParser(_with_packed_network(config, inference))
    handlers = parser.get(_HANDLERS)
    if isinstance(handlers, str):
        groups = list(ReferenceResolver.match_refs_pattern(handlers))
        if handlers != "$" + " + ".join(f"@{group}" for group in groups):
            raise ValueError(f"{_HANDLERS} must be a list, or a sum of lists as in '$@a + @b', got '{handlers}'.")
        parser[_HANDLERS] = [handler for group in groups for handler in parser[group]]
        for group in groups:
            del parser["train"][group.removeprefix("train::")]
    content: dict[str, Any] = parser.get()
    return content


def _with_packed_network(config: dict[str, Any], inference: Mapping[str, Any]) -> dict[str, Any]:
    if config.get("network_def") == inference["network_def"]:
        return config
    renamed = json.loads(re.sub(r"@network_def\b", f"@{_TRAINED}", json.dumps(config)))
    if "network_def" in renamed:
        renamed[_TRAINED] = renamed.pop("network_def")
    return {**{key: inference[key] for key in ("backbone_def", "network_def") if key in inference}, **renamed}
