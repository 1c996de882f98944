"""The record of a run, RUN/run.json: the recipe, seed, versions, data list and weights it was made of."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medssl.files import file_sha256, read_object, write_json

RECORD_NAME = "run.json"
_LIBRARIES = ("medssl", "monai", "torch", "numpy", "pytorch-ignite", "nibabel", "SimpleITK", "pynrrd")
_SETTINGS = ("linear_probe", "fine_tune", "from_scratch", "mean_teacher")


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that affect a result.

    Example:
        >>> sorted(library_versions())[:3]
        ['SimpleITK', 'medssl', 'monai']
    """
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def datalist_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the facts that identify a data list: path, SHA-256, name, modality, axes, labels, cases, licence.

    Args:
        path: data list, a JSON file in MONAI's decathlon style.

    Raises:
        ValueError: if the file is not a JSON object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object with sections such as 'training'.")
    licence = content.get("licence", content.get("license"))
    return {
        "path": str(path),
        "sha256": file_sha256(path),
        "name": content.get("name", Path(path).stem),
        "modality": content.get("modality"),
        "spatial_dims": content.get("spatial_dims", 3),
        "labels": content.get("labels", {}),
        "counts": {
            section: len(cases)
            for section, cases in content.items()
            if isinstance(cases, list) and section != "channels"
        },
        **({"channels": content["channels"]} if isinstance(content.get("channels"), list) else {}),
        **({"licence": licence} if licence else {}),
    }


def volumes_record(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands in for the facts of a data list where volumes are made: the SHA-256 is that of the settings.

    Args:
        settings: of the data set in the configuration.

    Example:
        >>> volumes_record({"_target_": "medssl.phantom.synthetic.SyntheticVolumes"})["name"]
        'SyntheticVolumes'
    """
    text = json.dumps(settings, sort_keys=True)
    return {
        "path": None,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "name": str(settings.get("_target_", "")).rpartition(".")[-1],
        "modality": "synthetic",
        "spatial_dims": 3,
        "labels": {},
        "counts": {},
    }


def run_record(
    kind: str,
    method: str,
    recipe: Sequence[str | os.PathLike[str]],
    seed: int,
    steps: int,
    datalist: str | os.PathLike[str] | None,
    setting: str | None = None,
    labels: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    backbone: str | os.PathLike[str] | None = None,
    volumes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the record of a run that starts now; `finish_run_record` adds the end.

    Args:
        kind: ``pretrain`` or ``segmentation``.
        method: name of the pretraining method, or of the one that made the backbone.
        recipe: configuration files, in the order of merging.
        seed: seed of the run.
        steps: planned number of optimisation steps.
        datalist: path of the data list; None if the volumes are made and not read.
        setting: ``linear_probe``, ``fine_tune``, ``from_scratch`` or ``mean_teacher``; None for pretraining.
        labels: number of labelled cases that train a segmentation network; None stands for all of ``training``.
        overrides: settings given on the command line.
        backbone: pretrained weights the run starts from.
        volumes: settings of the data set that makes the volumes, where there is no data list.

    Raises:
        ValueError: if kind and setting do not go together.
    """
    _require_known(kind, setting)
    listed = volumes_record(volumes or {}) if datalist is None else datalist_record(datalist)
    if setting and labels is None:
        labels = listed["counts"].get("training", 0)
    return {
        "kind": kind,
        "setting": setting,
        "method": method,
        "recipe": [str(path) for path in recipe],
        "overrides": dict(overrides or {}),
        "seed": seed,
        "steps": steps,
        "datalist": listed,
        "labels": labels or 0,
        "backbone_sha256": file_sha256(backbone) if backbone is not None else None,
        "versions": library_versions(),
        "started": _now(),
        "finished": None,
    }


def _require_known(kind: str, setting: str | None) -> None:
    if kind not in ("pretrain", "segmentation"):
        raise ValueError(f"kind must be 'pretrain' or 'segmentation', got '{kind}'.")
    if (setting in _SETTINGS) != (kind == "segmentation"):
        raise ValueError(
            f"setting must be one of {_SETTINGS} for segmentation and None for pretraining, got '{setting}'."
        )


def write_run_record(
    run_dir: str | os.PathLike[str],
    record: Mapping[str, Any],
    resumed_at: int | None = None,
    changes: Sequence[str] = (),
) -> Path:
    """Write the record to ``run.json`` of a run folder, whole or not at all, and return its path.

    A folder holds one run, so an existing record is that of the same run before it was resumed: the time of the first
    start stays, and the list of ``resumes`` grows.

    Args:
        run_dir: run folder.
        record: of `run_record`.
        resumed_at: steps done when the run is resumed now; None if it is not.
        changes: settings that changed with this resume.
    """
    path = Path(run_dir) / RECORD_NAME
    former = read_run_record(run_dir) if path.is_file() else {}
    written = {**record, **{key: former[key] for key in ("started", "resumes") if key in former}}
    if resumed_at is not None:
        resume = {"time": _now(), "step": resumed_at, **({"changes": list(changes)} if changes else {})}
        written["resumes"] = [*written.get("resumes", []), resume]
    write_json(path, written)
    return path


def read_run_record(run_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the record of a run folder.

    Raises:
        FileNotFoundError: if the folder holds no record.
        ValueError: if it is damaged.
    """
    path = Path(run_dir) / RECORD_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; give the folder of a medssl run.")
    return read_object(path)


def finish_run_record(run_dir: str | os.PathLike[str], **changes: Any) -> dict[str, Any]:
    """Note the time of the end and any other change in the record of a run, and return it.

    Args:
        run_dir: run folder.
        changes: entries to set, for example ``steps=1200`` for a run that stopped early.
    """
    record = {**read_run_record(run_dir), **changes, "finished": _now()}
    write_run_record(run_dir, record)
    return record


def without_local_paths(value: Any) -> Any:
    """Return a copy with every absolute path cut to its last part, so that no folder of the author is published.

    Example:
        >>> without_local_paths({"path": "/home/ada/lists/ct.json", "seed": 3, "files": ["a/b.yaml"]})
        {'path': 'ct.json', 'seed': 3, 'files': ['a/b.yaml']}
    """
    if isinstance(value, Mapping):
        return {key: without_local_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_local_paths(item) for item in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
