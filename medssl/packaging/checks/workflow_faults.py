"""Which entries of a bundle's configurations MONAI's workflows would miss."""

from collections.abc import Iterator, Mapping
from typing import Any

from monai.bundle import ConfigParser
from monai.utils import BundleProperty, BundlePropertyConfig

_HANDLERS = "train::handlers"


def workflow_faults(config: Mapping[str, Any], properties: Mapping[str, Mapping[str, Any]], file: str) -> Iterator[str]:
    """Yield what a workflow of MONAI would miss in a configuration, one sentence per fault, without building anything.

    A required property must be there. An optional one must be there where its component is referred to, and the
    reference must be plain ("@handlers"): any other text, object or list in its place hides it from applications.

    Args:
        config: merged and unresolved.
        properties: of `monai.bundle.properties`.
        file: name of the configuration, for the messages.

    Example:
        >>> from monai.bundle.properties import InferProperties
        >>> list(workflow_faults({"device": "cpu"}, InferProperties, "inference.json"))[:2]
        ['inference.json lacks bundle_root.', 'inference.json lacks dataset_dir.']
    """
    parser = ConfigParser(dict(config))
    handlers = parser.get(_HANDLERS, [])
    if not isinstance(handlers, list) or not all(isinstance(item, Mapping) and "_target_" in item for item in handlers):
        yield f"{file}: {_HANDLERS} must be a list of objects with _target_; MONAI fails on anything else."
        return
    for facts in properties.values():
        name = facts[BundlePropertyConfig.ID]
        if facts[BundleProperty.REQUIRED]:
            if name not in parser:
                yield f"{file} lacks {name}."
        elif facts.get(BundlePropertyConfig.REF_ID):
            yield from _reference_faults(parser, name, facts[BundlePropertyConfig.REF_ID], file)


def _reference_faults(parser: ConfigParser, name: str, place: str, file: str) -> Iterator[str]:
    found = {place: parser.get(place)}
    if place in ("validator", "interval"):
        # Arguments of the ValidationHandler, which may stand anywhere among the handlers.
        validation = [item for item in parser.get(_HANDLERS, []) if item["_target_"] == "ValidationHandler"]
        found = {f"{place} of the ValidationHandler": item.get(place) for item in validation}
    for where, reference in found.items():
        if reference is None or (isinstance(reference, str) and reference.startswith("$")):
            continue
        if reference != f"@{name}":
            yield f"{file}: {where} must be the plain reference '@{name}', with what is there now moved to {name}."
        elif name not in parser:
            yield f"{file}: {where} refers to {name}, which is missing."
