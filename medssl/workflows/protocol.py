"""A protocol: methods x settings x numbers of labels x folds, under one budget, in one table."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from medssl.data.datalist import read_datalist, require_few_labels
from medssl.runs.record import RECORD_NAME, read_run_record
from medssl.workflows.protocol_plan import Cell, cells, read_plan
from medssl.workflows.run_pool import Job, run_jobs
from medssl.workflows.training import evaluate, pretrain, train_segmentation


def run_protocol(protocol: str, datalist: Path, output_dir: Path, num_processes: int = 1, trust: bool = False) -> Path:
    """Train and evaluate every backbone, setting, number of labels and fold of a protocol, and return the report.

    Finished runs are kept, so the same call continues a stopped protocol. One bar shows the time left for the whole.
    The folder gets ``pretrain/NAME``, ``features/NAME``, ``SETTING/NAME/labels=N/fold=K`` and ``report``.

    Args:
        protocol: name of a file below ``bundles/protocols``, or a YAML file, with the keys ``data`` (data recipes),
            ``pretrain`` and ``segmentation`` (settings of all runs), ``settings``, ``backbones``, ``labels`` and
            ``folds`` (see `medssl.workflows.protocol_plan.draws`), or ``extends`` and the keys that differ;
            ``docs/recipes.md`` describes them.
        datalist: the data list.
        output_dir: folder of all runs.
        num_processes: number of runs at a time.
        trust: True runs whatever the configurations of the protocol's pretrained `weights` say; else they are read as
            data.

    Raises:
        ValueError: if the file lacks a key, or the list has too few cases for a number of labels.
    """
    plan = read_plan(protocol)
    _require_cases(plan, datalist)
    names, planned = _pretrained(plan), list(cells(plan))
    pretraining = [
        Job("pretrain", partial(_pretrain, plan, name, datalist, output_dir))
        for name in names
        if not _is_finished(output_dir / "pretrain" / name)
    ]
    segmentation = [
        Job(cell[0], partial(_segment, plan, cell, datalist, output_dir, trust))
        for cell in planned
        if not _has_rows(output_dir, cell)
    ]
    num_finished = len(names) + len(planned) - len(pretraining) - len(segmentation)
    run_jobs([pretraining, segmentation], num_processes, num_finished)
    from medssl.evaluation.report import report

    return report([_cell_dir(output_dir, *cell) / "rows.jsonl" for cell in planned], output_dir / "report")


def _require_cases(plan: Mapping[str, Any], datalist: Path) -> None:
    # Otherwise a cell could fail after other cells have run for hours.
    listed = read_datalist(datalist)
    for num_labels in plan["labels"]:
        require_few_labels(listed, "training", num_labels)
        for choice in plan["settings"].values():
            if "mean_teacher" in choice.get("layers", ()):
                from medssl.data.unlabeled import require_unlabeled

                with_training = choice.get("overrides", {}).get("unlabeled_training", False)
                require_unlabeled(listed, num_labels, with_training)


def _pretrained(plan: Mapping[str, Any]) -> list[str]:
    used = {name for choice in plan["settings"].values() for name in choice["backbones"]}
    return [name for name, backbone in plan["backbones"].items() if "method" in backbone and name in used]


def _pretrain(plan: Mapping[str, Any], name: str, datalist: Path, output_dir: Path) -> None:
    folder = output_dir / "pretrain" / name
    backbone = plan["backbones"][name]
    settings = {**plan["pretrain"], **backbone.get("overrides", {}), "name": name}
    layers = backbone.get("layers", ())
    pretrain(backbone["method"], datalist, plan["data"], folder, layers=layers, overrides=settings, resume=True)


def _segment(plan: Mapping[str, Any], cell: Cell, datalist: Path, output_dir: Path, trust: bool) -> None:
    folder = _cell_dir(output_dir, *cell)
    setting, name, num_labels, fold = cell
    backbone, choice = plan["backbones"][name], plan["settings"][setting]
    recipe, layers = choice.get("setting", setting), list(choice.get("layers", ()))
    settings = {**plan["segmentation"], **choice.get("overrides", {}), **backbone.get("segmentation", {}), "name": name}
    pretrained = _weights(backbone, output_dir / "pretrain" / name) if recipe != "from_scratch" else None
    if recipe == "linear_probe":
        # A frozen backbone gives a scan the same features whatever is labelled, so all its probes share them.
        settings = {"features_dir": str(output_dir / "features" / name), **settings}
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
            # What this very command pretrained.
            trust=trust or "method" in backbone,
            num_labels=num_labels,
            fold=fold,
            layers=layers,
            overrides=settings,
            resume=True,
        )
    evaluate(folder, overrides={"setting": setting}, trust=True)


def _weights(backbone: Mapping[str, Any], run: Path) -> Path | str | None:
    return run if "method" in backbone else backbone.get("weights")


def _is_finished(folder: Path) -> bool:
    return (folder / RECORD_NAME).is_file() and read_run_record(folder)["finished"] is not None


def _has_rows(output_dir: Path, cell: Cell) -> bool:
    path = _cell_dir(output_dir, *cell) / "rows.jsonl"
    if not path.exists():
        return False
    from medssl.evaluation.metrics import read_rows

    return bool(read_rows(path))


def _cell_dir(output_dir: Path, setting: str, name: str, num_labels: int, fold: int) -> Path:
    return output_dir / setting / name / f"labels={num_labels}" / f"fold={fold}"
