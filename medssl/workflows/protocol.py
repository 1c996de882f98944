"""A protocol: methods x settings x numbers of labels x folds, under one budget, in one table."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import yaml

from medssl.data.datalist import read_datalist, require_few_labels
from medssl.data.unlabeled import require_unlabeled
from medssl.evaluation.metrics import read_rows
from medssl.evaluation.report import report
from medssl.runs.record import RECORD_NAME, read_run_record
from medssl.workflows.recipes import find_recipe
from medssl.workflows.training import evaluate, pretrain, train_segmentation

REQUIRED = ("data", "backbones", "labels", "folds", "settings", "pretrain", "segmentation")


def run_protocol(protocol: str, datalist: Path, output_dir: Path, num_processes: int = 1) -> Path:
    """Train and evaluate every backbone, setting, number of labels and fold of a protocol, and return the report.

    Finished runs are kept, so the same call continues a stopped protocol. The folder gets ``pretrain/NAME``,
    ``SETTING/NAME/labels=N/fold=K`` and ``report``.

    Args:
        protocol: name of a file below ``bundles/protocols``, or a YAML file, with the keys ``data`` (data recipes),
            ``pretrain`` and ``segmentation`` (settings of all runs), ``settings``, ``backbones``, ``labels`` and
            ``folds``; ``docs/recipes.md`` describes them.
        datalist: the data list.
        output_dir: folder of all runs.
        num_processes: number of runs at a time.

    Raises:
        ValueError: if the file lacks a key, or the list has too few cases for a number of labels.
    """
    path = find_recipe("protocols", protocol)
    plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    missing = [key for key in REQUIRED if key not in plan]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}.")
    _require_cases(plan, datalist)
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        jobs = [pool.submit(_pretrain, plan, name, datalist, output_dir) for name in _pretrained(plan)]
        for job in jobs:
            job.result()
        jobs = [pool.submit(_segment, plan, *cell, datalist, output_dir) for cell in cells(plan)]
        for job in jobs:
            job.result()
    rows = [_cell_dir(output_dir, *cell) / "rows.jsonl" for cell in cells(plan)]
    return report(rows, output_dir / "report")


def _require_cases(plan: Mapping[str, Any], datalist: Path) -> None:
    # Otherwise a cell could fail after other cells have run for hours.
    listed = read_datalist(datalist)
    for num_labels in plan["labels"]:
        require_few_labels(listed, "training", num_labels)
        for choice in plan["settings"].values():
            if "mean_teacher" in choice.get("layers", ()):
                with_training = choice.get("overrides", {}).get("unlabeled_training", False)
                require_unlabeled(listed, num_labels, with_training)


def cells(plan: Mapping[str, Any]) -> Iterator[tuple[str, str, int, int]]:
    """Yield every (setting, backbone, number of labels, fold) of a protocol, few labels first.

    Example:
        >>> plan = {"settings": {"linear_probe": {"backbones": ["a"]}}, "labels": [1, 2], "folds": [0]}
        >>> list(cells(plan))
        [('linear_probe', 'a', 1, 0), ('linear_probe', 'a', 2, 0)]
    """
    for num_labels in plan["labels"]:
        for fold in plan["folds"]:
            for setting, choice in plan["settings"].items():
                for name in choice["backbones"]:
                    yield setting, name, num_labels, fold


def _one_thread() -> None:
    torch.set_num_threads(1)


def _pretrained(plan: Mapping[str, Any]) -> list[str]:
    return [name for name, backbone in plan["backbones"].items() if "method" in backbone]


def _pretrain(plan: Mapping[str, Any], name: str, datalist: Path, output_dir: Path) -> None:
    folder = output_dir / "pretrain" / name
    if _is_finished(folder):
        return
    backbone = plan["backbones"][name]
    settings = {**plan["pretrain"], **backbone.get("overrides", {}), "name": name}
    layers = backbone.get("layers", ())
    pretrain(backbone["method"], datalist, plan["data"], folder, layers=layers, overrides=settings, resume=True)


def _segment(
    plan: Mapping[str, Any], setting: str, name: str, num_labels: int, fold: int, datalist: Path, output_dir: Path
) -> None:
    folder = _cell_dir(output_dir, setting, name, num_labels, fold)
    if (folder / "rows.jsonl").exists() and read_rows(folder / "rows.jsonl"):
        return
    backbone, choice = plan["backbones"][name], plan["settings"][setting]
    recipe, layers = choice.get("setting", setting), list(choice.get("layers", ()))
    settings = {**plan["segmentation"], **choice.get("overrides", {}), **backbone.get("segmentation", {}), "name": name}
    pretrained = _weights(backbone, output_dir / "pretrain" / name) if recipe != "from_scratch" else None
    if pretrained is None:
        settings |= backbone.get("overrides", {})
        layers = [*backbone.get("layers", ()), *layers]
    if not _is_finished(folder):
        train_segmentation(
            recipe,
            datalist,
            plan["data"],
            folder,
            backbone=pretrained,
            num_labels=num_labels,
            fold=fold,
            layers=layers,
            overrides=settings,
            resume=True,
        )
    evaluate(folder, overrides={"setting": setting})


def _weights(backbone: Mapping[str, Any], run: Path) -> Path | str | None:
    return run if "method" in backbone else backbone.get("weights")


def _is_finished(folder: Path) -> bool:
    return (folder / RECORD_NAME).is_file() and read_run_record(folder)["finished"] is not None


def _cell_dir(output_dir: Path, setting: str, name: str, num_labels: int, fold: int) -> Path:
    return output_dir / setting / name / f"labels={num_labels}" / f"fold={fold}"
