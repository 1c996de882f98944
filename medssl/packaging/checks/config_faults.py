"""What MONAI, MONAI Label and 3D Slicer could not use in the inference configuration of a bundle."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser
from monai.transforms import Compose, DeleteItemsd, LoadImaged, MapTransform, SaveImaged, Spacingd

from medssl.packaging.data_only import data_only
from medssl.packaging.references import texts

_FILE = "configs/inference.json"
# What every bundle may name without saying so in required_packages_version.
_PACKAGES = {"monai", "torch", "ignite", "medssl", "numpy"}


def config_faults(config: Mapping[str, Any], packages: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with an inference configuration as text, one sentence per fault, without running anything in it.

    Args:
        config: content of ``configs/inference.json``.
        packages: names of ``required_packages_version`` in the metadata.

    Example:
        >>> list(config_faults({"run": [], "net": {"_target_": "scripts.net.Net"}}, []))[-1]
        "configs/inference.json names 'scripts.net.Net', which is neither MONAI's nor of a package in required_packages_version; install it as one and name that."
    """  # noqa: E501 (the line of the example is that long)
    if "run" not in config:
        yield f"{_FILE} lacks run."
    if "initialize" in config:
        yield f"{_FILE} must not have initialize: monai.bundle.load runs it with '.' as the bundle; use handlers."
    handlers = config.get("handlers")
    first = handlers[0] if isinstance(handlers, list) and handlers else None
    loads = isinstance(first, Mapping) and first.get("_target_") == "CheckpointLoader" and "_disabled_" not in first
    if not loads:
        yield f"The first of the handlers in {_FILE} must be CheckpointLoader, and always on."
    elif first.get("strict") is False:
        yield f"The CheckpointLoader in {_FILE} must be strict: else weights that are missing stay random."
    for text in texts(config):
        if Path(text).is_absolute():
            yield f"{_FILE} names '{text}', which is not part of the bundle."
    known = _PACKAGES | {package.replace("-", "_") for package in packages}
    for target in _targets(config):
        if "." in target and target.split(".")[0] not in known:
            yield (
                f"{_FILE} names '{target}', which is neither MONAI's nor of a package in required_packages_version; "
                "install it as one and name that."
            )


def transform_faults(config: Mapping[str, Any], segments: bool, trust: bool = False) -> Iterator[str]:
    """Yield what in the transforms of a configuration would fail in MONAI Label or 3D Slicer; builds them.

    Args:
        config: content of ``configs/inference.json``, without faults that `config_faults` finds.
        segments: whether the bundle gives label maps.
        trust: True builds whatever the configuration says; else it is read as data.
    """
    parser = ConfigParser(data_only(config, ["preprocessing", "postprocessing"], Path(_FILE), trust))
    before, after = (_transforms(parser, name) for name in ("preprocessing", "postprocessing"))
    if not any(isinstance(transform, LoadImaged) for transform in before):
        yield f"{_FILE}: no transform of preprocessing is a LoadImaged, by which MONAI Label knows the reader."
    for transform in before:
        keys = transform.keys if isinstance(transform, MapTransform) else ()
        wrong = [key for key in keys if str(key).startswith(("image_", "label_"))]
        if wrong and not isinstance(transform, DeleteItemsd):
            yield f"{_FILE}: {type(transform).__name__} has the key '{wrong[0]}', which Spacingd takes for metadata."
    if segments:
        yield from _segmentation_faults(parser, before, after)


def _segmentation_faults(parser: ConfigParser, before: Sequence[Any], after: Sequence[Any]) -> Iterator[str]:
    spacing = next((place for place, transform in enumerate(before) if isinstance(transform, Spacingd)), len(before))
    deleted = [key for transform in before[:spacing] if isinstance(transform, DeleteItemsd) for key in transform.keys]
    if spacing < len(before) and "image_path" not in deleted:
        yield f"{_FILE}: preprocessing must delete image_path (DeleteItemsd) before Spacingd; MONAI Label adds it."
    writers = [transform for transform in after if any(word in type(transform).__name__ for word in ("Save", "Write"))]
    for writer in writers:
        if not isinstance(writer, SaveImaged) or "SaveImage" not in type(writer).__name__:
            yield (
                f"{_FILE}: {type(writer).__name__} must be a SaveImaged, by class and by name; MONAI Label would write "
                "with it at each request."
            )
        elif writer.saver.output_ext in (".mha", ".mhd"):
            yield f"{_FILE}: 3D Slicer opens no segmentation from {writer.saver.output_ext}; write .nii.gz or .nrrd."
        elif writer.saver.init_kwargs.get("output_dtype") != np.uint8:
            yield f"{_FILE}: {type(writer).__name__} must write uint8: 3D Slicer truncates other label values."
    if not writers:
        yield f"{_FILE}: postprocessing writes no file; end it with SaveImaged."


def _transforms(parser: ConfigParser, name: str) -> tuple[Any, ...]:
    content = parser.get_parsed_content(name)
    return tuple(content.flatten().transforms) if isinstance(content, Compose) else (content,)


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("_target_"), str):
            yield value["_target_"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _targets(item)
