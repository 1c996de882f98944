"""What MONAI, MONAI Label and 3D Slicer could not use in the metadata of a bundle."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for

from medssl.packaging.metadata import REQUIRED_KEYS
from medssl.packaging.sources import source_bundles
from medssl.transforms.save import check_labels

_FILE = "configs/metadata.json"
# https://semver.org: three numbers without leading zeros, then perhaps a pre-release and a build.
_SEMANTIC_VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
_TENSOR_KEYS = ("type", "format", "num_channels", "spatial_shape", "dtype", "value_range")


def metadata_faults(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the metadata of a bundle, one sentence per fault.

    MONAI's schema of 2024-07-25 comes last, because its messages are terse. A prediction of K channels whose
    ``channel_def`` names K + 1 labels is right: every label but the background has a logit.

    Args:
        metadata: content of ``configs/metadata.json``.

    Example:
        >>> list(metadata_faults({key: {} for key in REQUIRED_KEYS} | {"version": "1.0"}))[0]
        "configs/metadata.json: the version must be three numbers such as 0.1.0, got '1.0'."
    """
    missing = [key for key in REQUIRED_KEYS if key not in metadata]
    if missing:
        yield f"{_FILE} lacks {', '.join(missing)}."
        return
    faults = list(_own_faults(metadata))
    yield from faults or _schema_faults(metadata)


def _own_faults(metadata: Mapping[str, Any]) -> Iterator[str]:
    if not _SEMANTIC_VERSION.fullmatch(str(metadata["version"])):
        yield f"{_FILE}: the version must be three numbers such as 0.1.0, got '{metadata['version']}'."
    packages = metadata["required_packages_version"]
    if not isinstance(packages, Mapping) or "medssl" not in packages:
        yield f'{_FILE}: required_packages_version must name medssl, as in {{"medssl": "0.1.0"}}.'
    if not isinstance(metadata.get("supported_apps", {}), Mapping):
        yield f"{_FILE}: supported_apps must be an object, app to what it needs; remove it if there is none."
    yield from _format_faults(metadata["network_data_format"])


def _schema_faults(metadata: Mapping[str, Any]) -> Iterator[str]:
    schema = json.loads((source_bundles() / "schema" / "metadata_20240725.json").read_text(encoding="utf-8"))
    # Where a value fits none of several forms, report the one that it fits best.
    errors = [best_match([error]) for error in validator_for(schema)(schema).iter_errors(metadata)]
    found = [(".".join(map(str, error.absolute_path)) or "its top", error.message) for error in errors]
    # The schema describes a tensor in two places, and so reports each of its faults twice.
    for place, message in dict.fromkeys(found):
        yield f"{_FILE} breaks MONAI's schema of 2024-07-25 at {place}: {message}."


def _format_faults(formats: Any) -> Iterator[str]:
    # MONAI Label takes the first input and the first output, and its own transforms know them by these names.
    for group, key in (("inputs", "image"), ("outputs", "pred")):
        tensors = formats.get(group) if isinstance(formats, Mapping) else None
        if not isinstance(tensors, Mapping) or next(iter(tensors), None) != key:
            yield f"{_FILE}: the first of network_data_format.{group} must be '{key}'."
            continue
        missing = [name for name in _TENSOR_KEYS if name not in tensors[key]]
        if missing:
            yield f"{_FILE}: network_data_format.{group}.{key} lacks {', '.join(missing)}."
        elif key == "pred" and tensors[key]["format"] == "segmentation":
            yield from label_faults(tensors[key].get("channel_def", {}))


def label_faults(channel_def: Mapping[str, str]) -> Iterator[str]:
    """Yield why MONAI Label or 3D Slicer would lose or rename a label, one sentence per fault.

    Both take the position of a name as its label value, and MONAI Label compares names in lower case and drops
    "background".

    Args:
        channel_def: label value, as text, to name; 0 is background.

    Example:
        >>> list(label_faults({"0": "background", "1": "Liver", "2": "liver"}))
        ['configs/metadata.json, channel_def: Two label values share a name: liver; give every label...']
    """
    where = f"{_FILE}, channel_def"
    if not isinstance(channel_def, Mapping) or not all(
        key.isdecimal() and isinstance(name, str) for key, name in channel_def.items()
    ):
        yield f'{where} must be an object of label values and names, as in {{"0": "background", "1": "liver"}}.'
        return
    if channel_def.get("0") != "background":
        yield f"{where} must have 0 = background."
    try:
        labels = check_labels({value: name.strip().lower() for value, name in channel_def.items()})
    except ValueError as error:
        yield f"{where}: {error}"
        return
    if "background" in labels.values() or "" in labels.values():
        yield f"{where}: 'background' and an empty text cannot name a structure; MONAI Label would drop it."
